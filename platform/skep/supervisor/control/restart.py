"""Restart the supervisor itself without closing a socket.

First a fresh interpreter tries whether what lies on the disk would start (`platform check`, with
the options of this start). Only then this platform stops, and the process becomes the new one by
execve: the same process id, the same listening sockets. Connections that come meanwhile wait in
their queues, and the lock of the data directory never is free.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from skep.supervisor.control.commands import ControlOwner
from skep.supervisor.control.records import Operations
from skep.supervisor.control.server import Command, CommandRefused, current_caller
from skep.supervisor.sockets.inheritance import Inheritance, hand_down

# What `Supervisor.run` returns when the process is to become the new one.
RESTART = -1
_PATIENCE = 120.0


class Restart:
    """The commands `check` and `restart`."""

    def __init__(
        self, owner: ControlOwner, operations: Operations, environment: Mapping[str, str]
    ) -> None:
        self._owner = owner
        self._operations = operations
        self._environment = environment
        self._busy = False

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {"check": self.check, "restart": self.restart}

    async def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether what lies on the disk would start, as `platform check --json` says it."""
        return await _check(self._environment, list(arguments.get("more", ())))

    async def restart(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check, then begin to stop; `more` are arguments that the new start is to have besides.

        Raises CommandRefused when the new would not come up; then nothing was touched.
        """
        if self._busy:
            raise CommandRefused("A restart is being prepared already.", "busy")
        more = [str(argument) for argument in arguments.get("more", ())]
        caller = current_caller()
        operation = self._operations.begin("restart", str(caller or "control socket"))
        operation.enter("checking", operation.began)
        if caller is not None:
            caller.tell({"phase": "checking"})
        self._busy = True
        try:
            found = await _check(self._environment, more)
        finally:
            self._busy = False
        if not found["ok"]:
            operation.problems = [problem["message"] for problem in found["problems"]]
            self._operations.end(operation, "refused")
            raise CommandRefused(found["sentence"])
        sys.orig_argv.extend(more)
        operation.enter("stopping", time.time())
        self._owner.stop(RESTART, operation)
        return {"pid": os.getpid(), "run_id": self._owner.run_id}


def become_anew(environment: Mapping[str, str], inheritance: Inheritance) -> NoReturn:
    """Become a supervisor that has just been started, and inherits this."""
    sys.stdout.flush()
    sys.stderr.flush()
    handed = hand_down(inheritance)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, **handed})


async def _check(environment: Mapping[str, str], more: Sequence[str]) -> dict[str, Any]:
    """Run `platform check` as this process was started; its log lines go where ours go."""
    output = _begin_check(environment, more)
    try:
        async with asyncio.timeout(_PATIENCE):
            text = await _read(output)
    except TimeoutError:
        return _no("The check took too long.")
    finally:
        os.close(output)
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return _no("The check ended without a word; its log lines say more.")
    return found


def _begin_check(environment: Mapping[str, str], more: Sequence[str]) -> int:
    """Start it and return what its outcome is to be read from. The supervisor waits for it as for
    every process."""
    start = sys.orig_argv.index("start")
    arguments = [*sys.orig_argv[1:start], "check", "--json", *sys.orig_argv[start + 1 :], *more]
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
            setsid=True,
        )
    finally:
        os.close(write)
    return read


async def _read(descriptor: int) -> bytes:
    loop, chunks = asyncio.get_running_loop(), list[bytes]()
    ended = loop.create_future()

    def readable() -> None:
        chunk = os.read(descriptor, 65536)
        chunks.append(chunk)
        if not chunk and not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, readable)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
    return b"".join(chunks)


def _no(sentence: str) -> dict[str, Any]:
    return {"ok": False, "sentence": sentence, "problems": [{"message": sentence}]}
