"""`--config-check CMD`: a shell command that a configuration has to pass before it is applied."""

import asyncio
import shlex
from collections.abc import Callable
from pathlib import Path

from skep.base.errors import PlatformError
from skep.base.system.exit_status import describe
from skep.supervisor.config.configuration import Configuration
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.command import run_command
from skep.supervisor.request import RolloutRequest, merge
from skep.wire.plan import Problem

_SHELL = "/bin/sh"
# The end of what the command prints is shown: the last lines say what is wrong.
_KEPT_BYTES, _KEPT_LINES = 8192, 3


def command_line(command: str, staged: Path) -> list[str]:
    """Return how the shell is started; the file takes the place of `{}` or comes last."""
    path = shlex.quote(str(staged))
    text = command.replace("{}", path) if "{}" in command else f"{command} {path}"
    return [_SHELL, "-c", text]


def check_environment(configuration: Configuration, staged: Path) -> dict[str, str]:
    """Return the environment of the command: that of the new workers, and the file."""
    return {**configuration.environment, "PLATFORM_STAGED_ENV": str(staged)}


def verdict(why: str, output: bytes | bytearray) -> Problem:
    """Return why a configuration has not passed, with the last lines of what was printed.

    `why` is how the command ended, as a part of a sentence.
    """
    lines = output[-_KEPT_BYTES:].decode(errors="replace").split("\n")
    said = " / ".join([line.strip() for line in lines if line.strip()][-_KEPT_LINES:])
    printed = f": {said}" if said else "."
    return Problem("check", f"The config check {why}{printed}", rule="check_cmd")


class ConfigChecks:
    """One check at a time, and which configuration has passed last.

    `stage` writes the file that is to be checked and returns where. `passed` is called with the
    request whose configuration has passed, so that it is carried out; `failed` with the request,
    the configuration and the problem. Neither is called after `end`.
    """

    def __init__(
        self,
        children: Children,
        stage: Callable[[Configuration], Path],
        passed: Callable[[RolloutRequest], None],
        failed: Callable[[RolloutRequest, Configuration, Problem], None],
    ) -> None:
        self._children = children
        self._stage = stage
        self._passed = passed
        self._failed = failed
        self._good = ""
        self._going: tuple[RolloutRequest, asyncio.Task[None]] | None = None

    def wanted(self, configuration: Configuration) -> bool:
        """Whether a configuration has to pass a check that it has not passed yet."""
        return bool(configuration.options.config_check) and configuration.digest != self._good

    def begin(self, request: RolloutRequest, configuration: Configuration) -> None:
        """Check a configuration; the request goes on when it has passed."""
        self._going = request, asyncio.create_task(self._check(request, configuration))

    def give_way(self, request: RolloutRequest) -> RolloutRequest:
        """End the check that is going on, if any; return a request that asks for both."""
        pending = self._going
        self.end()
        return merge(pending[0], request) if pending is not None else request

    def end(self) -> None:
        """End the check that is going on."""
        if self._going is not None:
            self._going[1].cancel()
            self._going = None

    async def _check(self, request: RolloutRequest, configuration: Configuration) -> None:
        try:
            problem = await self._judge(configuration)
        except PlatformError as error:
            problem = Problem("check", str(error))
        self._going = None
        if problem is None:
            self._good = configuration.digest
            self._passed(request)
        else:
            self._failed(request, configuration, problem)

    async def _judge(self, configuration: Configuration) -> Problem | None:
        staged, output = self._stage(configuration), bytearray()
        options = configuration.options
        line = command_line(options.config_check, staged)
        environment = check_environment(configuration, staged)
        try:
            async with asyncio.timeout(options.config_check_timeout):
                status = await run_command(self._children, line, environment, output, errors=True)
        except TimeoutError:
            why = f"took over {options.config_check_timeout:g} s and was ended"
            return verdict(why, output)
        except OSError as error:  # E2BIG, for instance
            return verdict(f"cannot be started ({error.strerror})", b"")
        return verdict(describe(status), output) if status else None
