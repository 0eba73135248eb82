"""`--config-check CMD`: a shell command that a new configuration has to pass before anything of it
is put in force."""

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from skep.base.errors import PlatformError
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.processes.exit_reason import describe
from skep.supervisor.request import RolloutRequest, merge
from skep.wire.plan import Problem

_SHELL = "/bin/sh"
# Of what the command prints, the end is kept: the last lines say what is wrong.
_KEPT_BYTES, _KEPT_LINES = 8192, 3


def command_line(command: str, staged: Path) -> list[str]:
    """Return how the shell is started; the file takes the place of `{}` or comes last."""
    path = shlex.quote(str(staged))
    text = command.replace("{}", path) if "{}" in command else f"{command} {path}"
    return [_SHELL, "-c", text]


def surroundings(configuration: Configuration, staged: Path) -> dict[str, str]:
    """Return the environment of the command: that of the workers to be, and the file."""
    return {**configuration.environment, "PLATFORM_STAGED_ENV": str(staged)}


def verdict(why: str, output: bytes) -> Problem:
    """Return why a configuration has not passed, with the last lines of what was printed.

    `why` is how the command ended, as a part of a sentence.
    """
    lines = output[-_KEPT_BYTES:].decode(errors="replace").split("\n")
    said = " / ".join([line.strip() for line in lines if line.strip()][-_KEPT_LINES:])
    told = f": {said}" if said else "."
    return Problem("check", f"The config check {why}{told}", rule="check_cmd")


class ConfigCheck:
    """One run of the command, for one request.

    `stage` writes the file that is to be checked and returns where. `done` is called once with the
    problem, or with None when all is well; never after `cancel`.
    """

    def __init__(
        self,
        request: RolloutRequest,
        configuration: Configuration,
        stage: Callable[[Configuration], Path],
        done: Callable[["ConfigCheck", Problem | None], None],
    ) -> None:
        self.request = request
        self.configuration = configuration
        self._stage = stage
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._pid = 0
        self._output = b""
        self._task = self._loop.create_task(self._run())

    def cancel(self) -> None:
        """End the command; its outcome is of no interest any more."""
        self._task.cancel()

    def reaped(self, pid: int, status: int) -> None:
        """Somebody has waited for a process, perhaps for this one."""
        if pid == self._pid and not self._status.done():
            self._status.set_result(status)

    async def _run(self) -> None:
        try:
            problem = await self._judge()
        except PlatformError as error:
            problem = Problem("check", str(error))
        self._done(self, problem)

    async def _judge(self) -> Problem | None:
        configuration = self.configuration
        staged = self._stage(configuration)
        seconds = configuration.options.config_check_timeout
        try:
            async with asyncio.timeout(seconds):
                status = await self._carry_out(configuration.options.config_check, staged)
        except TimeoutError:
            why = f"took over {seconds:g} s and was ended"
            return verdict(why, self._output)
        except OSError as error:  # E2BIG, for instance
            return verdict(f"cannot be started ({error.strerror})", b"")
        return verdict(describe(status), self._output) if status else None

    async def _carry_out(self, command: str, staged: Path) -> int:
        """Run the command; return its wait status. However this ends, nothing of it is left."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        self._loop.add_reader(ours, self._read, ours)
        try:
            line = command_line(command, staged)
            self._pid = _spawn(line, surroundings(self.configuration, staged), theirs)
            return await self._status
        finally:
            os.close(theirs)
            self._kill()
            self._read(ours)
            self._loop.remove_reader(ours)
            os.close(ours)

    def _read(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(descriptor, 65536)
            self._output = (self._output + data)[-_KEPT_BYTES:]
            if not data:
                self._loop.remove_reader(descriptor)

    def _kill(self) -> None:
        """Kill the command's process group: a background process must not stay behind."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


class ConfigChecks:
    """One check at a time, and which configuration has passed last.

    `passed` is called with the request whose configuration has passed, so that it is carried out;
    `failed` with the request, the configuration and the problem.
    """

    def __init__(
        self,
        stage: Callable[[Configuration], Path],
        passed: Callable[[RolloutRequest], None],
        failed: Callable[[RolloutRequest, Configuration, Problem], None],
    ) -> None:
        self._stage = stage
        self._passed = passed
        self._failed = failed
        self._good = ""
        self._check: ConfigCheck | None = None

    def wanted(self, configuration: Configuration) -> bool:
        """Whether a configuration has to pass a check that it has not passed yet."""
        return bool(configuration.options.config_check) and configuration.digest != self._good

    def begin(self, request: RolloutRequest, configuration: Configuration) -> None:
        """Check a configuration; the request goes on when it has passed."""
        self._check = ConfigCheck(request, configuration, self._stage, self._done)

    def give_way(self, request: RolloutRequest) -> RolloutRequest:
        """End the check that is going on, if any; return a request that asks for both."""
        if self._check is None:
            return request
        pending = self._check.request
        self.end()
        return merge(pending, request)

    def end(self) -> None:
        """End the check that is going on."""
        if self._check is not None:
            self._check.cancel()
            self._check = None

    def reaped(self, pid: int, status: int) -> None:
        """Somebody has waited for a process."""
        if self._check is not None:
            self._check.reaped(pid, status)

    def _done(self, check: ConfigCheck, problem: Problem | None) -> None:
        self._check = None
        if problem is None:
            self._good = check.configuration.digest
            self._passed(check.request)
        else:
            self._failed(check.request, check.configuration, problem)


def _spawn(line: list[str], environment: Mapping[str, str], output: int) -> int:
    return os.posix_spawn(
        line[0],
        line,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE),
    )
