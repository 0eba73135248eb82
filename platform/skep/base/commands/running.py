"""A command that runs: its guard, its output and its end."""

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from skep.base.commands import guard
from skep.base.commands.command import ExternalCommand, executable
from skep.base.commands.output import LineBudget, LineCutter
from skep.base.errors import CommandError
from skep.base.logs.log import bound, hide
from skep.base.system.exit_status import describe
from skep.base.system.signals import HELD

Stream = Literal["stdout", "stderr"]
Sink = Callable[[Stream, str], None]

_READ = 65536
# Reads of an output after the end: more than a pipe holds.
_LAST_READS = 32
_RESET = (*HELD, signal.SIGCHLD, signal.SIGPIPE)

log = logging.getLogger("command")
# As with what plugins print: it is logged whatever the level of the platform.
log.setLevel(logging.INFO)


@dataclass(frozen=True)
class CommandExit:
    """How a command ended: its status as of os.waitpid, None if its guard was killed with it."""

    status: int | None

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.status == 0

    def __str__(self) -> str:
        if self.status is None:
            return "killed together with its guard"
        return describe(self.status)


def to_log(stream: Stream, line: str) -> None:
    """Log a line of a command, by the logger `command`."""
    with bound(stream=stream):
        log.info("%s", line)


class RunningCommand:
    """A command under its guard, from `start` on.

    `pid` is its process id, that of its session and of its group.
    """

    def __init__(self, pid: int, streams: "_Streams", end: Coroutine[Any, Any, int | None]) -> None:
        self.pid = pid
        self._streams = streams
        self._end = asyncio.create_task(self._ended(end))

    async def wait(self) -> CommandExit:
        """Return how it ended, when no process of its group is left and all that it printed is in
        the sink. Cancelling this leaves the command alone."""
        return await asyncio.shield(self._end)

    async def stop(self, seconds: float) -> CommandExit:
        """End its group: SIGTERM now, SIGKILL in so many seconds. A later call may only shorten
        that time. Return how it ended."""
        self._streams.control.write(f"stop {seconds}\n".encode())
        return await self.wait()

    async def _ended(self, end: Coroutine[Any, Any, int | None]) -> CommandExit:
        status = await end
        if status is None:
            # The kernel has killed the command, but not what it had started.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._streams.close()
        return CommandExit(status)


class _Streams:
    """What the host has open for one command: the control stream and the two outputs."""

    def __init__(self, control: asyncio.StreamWriter, sink: Sink) -> None:
        self.control = control
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._budget = LineBudget()
        self._debt: asyncio.TimerHandle | None = None
        self._outputs: dict[int, tuple[Stream, LineCutter]] = {}

    def read(self, descriptor: int, stream: Stream) -> None:
        """Read an output from now on."""
        os.set_blocking(descriptor, False)
        self._outputs[descriptor] = stream, LineCutter()
        self._loop.add_reader(descriptor, self._take, descriptor)

    def close(self) -> None:
        """Read what is left and close everything. A program that has left the group may still have
        the outputs open; what it prints is not read any more."""
        for descriptor in list(self._outputs):
            for _ in range(_LAST_READS):
                if not self._take(descriptor):
                    break
            self._end(descriptor)
        self._report_left_out("stdout")
        if self._debt is not None:
            self._debt.cancel()
        self.control.close()

    def _take(self, descriptor: int) -> bool:
        """Read a part of an output; return whether there may be more."""
        if descriptor not in self._outputs:
            return False
        stream, cutter = self._outputs[descriptor]
        try:
            data = os.read(descriptor, _READ)
        except BlockingIOError:
            return False
        if not data:
            self._end(descriptor)
            return False
        self._put(stream, cutter.feed(data))
        return True

    def _end(self, descriptor: int) -> None:
        if descriptor in self._outputs:
            stream, cutter = self._outputs.pop(descriptor)
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            self._put(stream, cutter.end())

    def _put(self, stream: Stream, lines: list[str]) -> None:
        for line in lines:
            if self._budget.take(self._loop.time()):
                self._report_left_out(stream)
                self._sink(stream, line)
            elif self._debt is None:  # a program may print nothing for hours after a flood
                self._debt = self._loop.call_later(1.0, self._pay, stream)

    def _pay(self, stream: Stream) -> None:
        self._debt = None
        self._report_left_out(stream)

    def _report_left_out(self, stream: Stream) -> None:
        if count := self._budget.owed():
            self._sink(stream, f"… {count} lines left out, because there were too many a second")


async def start(command: ExternalCommand, name: str, sink: Sink = to_log) -> RunningCommand:
    """Start a command under a guard, which `ps` shows with this name; return when it runs.

    What it prints goes to the sink line by line, with the log fields that are bound here; secrets
    of its environment are masked. It is read as fast as it comes: of more than 1000 lines a second
    the rest is counted and not logged. Raises CommandError if the command cannot be started.
    """
    hide(command.environment)
    program = executable(command.argv, command.environment, command.directory)
    try:
        pid, control, outputs = _spawned(command, name)
        reader, writer = await asyncio.open_unix_connection(sock=control)
    except OSError as error:
        raise CommandError(f"{program} cannot be started: {error.strerror}.") from error
    streams = _Streams(writer, sink)
    for output, stream in zip(outputs, get_args(Stream), strict=True):
        streams.read(output, stream)
    writer.write(_order(command, program))
    try:
        answer = await _receive(reader)
    except asyncio.CancelledError:
        streams.close()  # for the guard that is the end of its host
        asyncio.get_running_loop().run_in_executor(None, _reap, pid)
        raise
    if "pid" not in answer:
        _reap(pid)
        streams.close()
        raise CommandError(_refusal(command, program, answer))
    return RunningCommand(answer["pid"], streams, _status(reader, pid))


def _spawned(command: ExternalCommand, name: str) -> tuple[int, socket.socket, list[int]]:
    """Start a guard; return its pid, our end of its control stream, and the outputs to read.

    Raises OSError, and then leaves nothing open.
    """
    with ExitStack() as theirs, ExitStack() as ours:
        control, remote = socket.socketpair()
        ours.enter_context(control)
        theirs.enter_context(remote)
        given = theirs.enter_context(tempfile.TemporaryFile())
        given.write(command.given)
        given.seek(0)
        files, outputs = [given.fileno()], []
        for _ in get_args(Stream):
            output, write_end = os.pipe()
            ours.callback(os.close, output)
            theirs.callback(os.close, write_end)
            outputs.append(output)
            files.append(write_end)
        pid = _spawn(name, (*files, remote.fileno()))
        ours.pop_all()
    return pid, control, outputs


def _spawn(name: str, files: Sequence[int]) -> int:
    """Start a guard with these descriptors as 0 to 3."""
    # Where the libraries of this interpreter are; the command gets its own environment.
    libraries = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", guard.__file__, name],
        libraries,
        file_actions=[(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)],
        setsid=True,
        setsigmask=(),
        setsigdef=_RESET,
    )


def _order(command: ExternalCommand, program: str) -> bytes:
    order = {
        "executable": program,
        "argv": command.argv,
        "environment": dict(command.environment),
        "directory": command.directory,
        "user": asdict(command.user) if command.user and not command.user.is_ours else None,
        "grace": command.grace,
    }
    return json.dumps(order).encode() + b"\n"


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next message of the guard; {} if there is none."""
    try:
        line = await reader.readline()
    except ConnectionError:
        line = b""
    found: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    return found


async def _status(reader: asyncio.StreamReader, guard_pid: int) -> int | None:
    answer = await _receive(reader)
    _reap(guard_pid)
    status: int | None = answer.get("status")
    return status


def _reap(pid: int) -> None:
    """Wait for a guard. It has sent its last message, or its socket is closed: it is as good as
    gone. Code of plugins may have waited for it before."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _refusal(command: ExternalCommand, program: str, answer: dict[str, Any]) -> str:
    if not answer:
        return f"{program} cannot be started: its guard has ended."
    why = os.strerror(answer["errno"])
    if answer["failed"] == "user" and command.user is not None:
        return f"{program} cannot run as the user {command.user.name}: {why}; it requires root."
    if answer["failed"] == "directory":
        return f"{program} cannot run in the directory {command.directory}: {why}."
    hint = " Does its first line name an interpreter, as #!/bin/sh does?"
    return f"{program} cannot be executed: {why}.{hint if answer['errno'] == errno.ENOEXEC else ''}"
