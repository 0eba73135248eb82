"""Restart the supervisor itself without closing a socket.

First a fresh interpreter tries whether what lies on the disk would start (`platform check`, with
the options of this start). Only then this platform stops, and the process becomes the new one by
execve: the same process id, the same listening sockets. Connections that begin in between wait in
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
from skep.supervisor.control.server import CommandRefused, current_caller
from skep.supervisor.parts import Parts
from skep.supervisor.processes.command import run_command
from skep.supervisor.sockets.inheritance import Inheritance, hand_down

# What `Supervisor.run` returns when the process is to become the new one.
RESTART = -1
_PATIENCE = 120.0


class Restart:
    """The commands `check` and `restart`."""

    def __init__(
        self,
        owner: ControlOwner,
        parts: Parts,
        operations: Operations,
        environment: Mapping[str, str],
    ) -> None:
        self._owner = owner
        self._parts = parts
        self._operations = operations
        self._environment = environment
        self._busy = False

    async def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether what lies on the disk would start, as `platform check --json` says it."""
        return await self._check(list(arguments.get("more", ())))

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
            found = await self._check(more)
        finally:
            self._busy = False
        if not found["ok"]:
            operation.problems = [problem["message"] for problem in found["problems"]]
            self._operations.end(operation, "refused")
            raise CommandRefused(found["sentence"])
        sys.orig_argv.extend(more)
        operation.enter("stopping", time.time())
        self._owner.stop(RESTART, operation)
        return {"pid": os.getpid(), "run_id": self._parts.run_id}

    async def _check(self, more: Sequence[str]) -> dict[str, Any]:
        """Run `platform check` as this process was started; its log lines go where ours go."""
        start = sys.orig_argv.index("start")
        arguments = [*sys.orig_argv[1:start], "check", "--json", *sys.orig_argv[start + 1 :], *more]
        line, output = [sys.executable, *arguments], bytearray()
        children, environment = self._parts.children, self._environment
        try:
            async with asyncio.timeout(_PATIENCE):
                await run_command(children, line, environment, output, errors=False)
        except TimeoutError:
            return _no("The check took too long.")
        try:
            found: dict[str, Any] = json.loads(output)
        except ValueError:
            return _no("The check ended without a word; its log lines say more.")
        return found


def become_anew(environment: Mapping[str, str], inheritance: Inheritance) -> NoReturn:
    """Become a supervisor that has just been started, and inherits this."""
    sys.stdout.flush()
    sys.stderr.flush()
    handed = hand_down(inheritance)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, **handed})


def _no(sentence: str) -> dict[str, Any]:
    return {"ok": False, "sentence": sentence, "problems": [{"message": sentence}]}
