"""One run of a command: started, watched, and reported when it has ended."""

import asyncio
import logging
import os
import pwd
import time
from collections.abc import Callable, Mapping
from typing import Literal

from skep.base.commands.command import ExternalCommand
from skep.base.commands.running import CommandExit, RunningCommand, start
from skep.base.errors import CommandError
from skep.base.logs.log import bound
from skep.base.telemetry import Telemetry
from skep.schedule.crontab import SHELL, ScheduledCommand

# Seconds between SIGTERM and SIGKILL, for all processes of a run.
STOP = 5.0

Outcome = Literal["success", "failure", "timeout", "cancelled"]

log = logging.getLogger(__name__)


def label(name: str) -> str:
    """Return the name of a command among the crons in logs and metrics: no plugin has a colon."""
    return f"crontab:{name}"


def environment_of(command: ScheduledCommand, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: `base`, the variables of its file, and what cron gives.

    The shell is not that of the user, and LOGNAME cannot be set, both as in cron.
    """
    user = pwd.getpwuid(os.geteuid())
    own = {"SHELL": SHELL, "LOGNAME": user.pw_name, "USER": user.pw_name}
    return {"HOME": user.pw_dir, **base, **own, **command.variables, "LOGNAME": user.pw_name}


def external(command: ScheduledCommand, base: Mapping[str, str]) -> ExternalCommand:
    """Return what is executed: the shell with the command, in HOME if the file sets it."""
    environment = environment_of(command, base)
    return ExternalCommand(
        (environment["SHELL"], "-c", command.script),
        environment,
        directory=command.variables.get("HOME", "."),
        given=command.given,
        grace=STOP,
    )


class CommandRun:
    """A run of a command for one moment; `pid` is 0 until the command is started.

    `begun()` is called when it is. A run that takes longer than its timeout is ended.
    """

    def __init__(
        self,
        command: ScheduledCommand,
        moment: float,
        telemetry: Telemetry,
        begun: Callable[[], None],
    ) -> None:
        self.command = command
        self.moment = moment
        self.pid = 0
        self._telemetry = telemetry
        self._begun = begun
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End it: SIGTERM now, SIGKILL after five seconds."""
        self._stopping.set()

    async def run(self, base: Mapping[str, str], now: float) -> Outcome:
        """Start the command; return how it ended. `base` is the environment, `now` is Unix time."""
        name = label(self.command.name)
        with (
            bound(cron=name),
            self._telemetry.span("cron.finished", cron=name) as fields,
        ):
            self._telemetry.point("cron.started", cron=name, lag=max(0.0, now - self.moment))
            outcome = fields["outcome"] = await self._outcome(base)
        return outcome

    async def _outcome(self, base: Mapping[str, str]) -> Outcome:
        began = time.monotonic()
        try:
            running = await start(external(self.command, base), label(self.command.name))
        except CommandError as error:
            log.error("%s", error)
            return "failure"
        self.pid = running.pid
        self._begun()
        log.info("started (pid %d)", running.pid)
        outcome, how = await self._watched(running)
        level = logging.INFO if outcome == "success" else logging.WARNING
        log.log(level, "%s after %.1f s: %s", _ENDS[outcome], time.monotonic() - began, how)
        return outcome

    async def _watched(self, running: RunningCommand) -> tuple[Outcome, CommandExit]:
        ended = asyncio.ensure_future(running.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        timeout = self.command.terms.timeout
        await asyncio.wait({ended, stopping}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        stopped = stopping.done()
        stopping.cancel()
        if ended.done():
            how = ended.result()
            return "success" if how.ok else "failure", how
        return "cancelled" if stopped else "timeout", await running.stop(STOP)


_ENDS: dict[Outcome, str] = {
    "success": "ended",
    "failure": "failed",
    "timeout": "ended, because it took too long,",
    "cancelled": "ended by the stop of the schedule",
}
