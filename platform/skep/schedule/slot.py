"""The schedule as a slot: it follows the crontab file, and keeps the clock."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.schedule import journal
from skep.schedule.crontab import CrontabError, ScheduledCommand, parse
from skep.schedule.file import CrontabFile, local_zone
from skep.schedule.schedule import Schedule
from skep.wire.lifecycle import Role
from skep.wire.messages import Boot, Message, Scheduled, Troubled

# Between two looks at the file, and at the wall clock, which may have been set.
_LOOK = 1.0

log = logging.getLogger(__name__)


class ScheduleSlot(Role):
    """Runs the commands of PLATFORM_CRONTAB.

    A crontab with a line that is not valid is refused as a whole, and the one before stays in
    force, also in the next process of this slot and after a restart of the platform. Without one
    before the slot fails, and the platform does not start.
    """

    def __init__(
        self,
        boot: Boot,
        send: Callable[[Message], None],
        telemetry: Telemetry,
        environment: Mapping[str, str],
    ) -> None:
        options = Options.from_json(boot.options)
        self._send = send
        self._run_id = boot.run_id
        self._file = CrontabFile(options.crontab)
        self._zone = local_zone()
        self._journal = journal.opened(RunDir(options.data_dir).schedule_file)
        self._schedule = Schedule(self._journal, telemetry, environment, time.time, self._report)
        self._commands: tuple[ScheduledCommand, ...] = ()
        self._trouble = ""
        self._reported: dict[str, Any] = {}
        self._keeping: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Read the crontab, or take the one before. Raises CrontabError if it can use neither."""
        try:
            self._commands = self._read()
        except CrontabError as error:
            if self._journal.file != str(self._file.path):
                raise
            self._commands = self._parse(self._journal.text)
            self._refuse(error)

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[None]:
        """Start the clock; the commands for `@reboot` run once for each start of the platform."""
        self._schedule.recover()
        first = self._journal.run_id != self._run_id
        self._journal.run_id = self._run_id
        self._schedule.take(self._commands)
        log.info("%d commands of %s", len(self._commands), self._file.path)
        if self._trouble:
            self._send(Troubled([self._trouble]))
        if first:
            self._schedule.start_of_platform()
        self._keeping = asyncio.create_task(self._keep())
        return self._keeping

    def retire(self) -> Mapping[str, Any]:
        """Stop the clock."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._schedule.close()
        return {}

    async def drain(self, deadline: float) -> None:
        if runs := self._schedule.runs:
            loop = asyncio.get_running_loop()
            await asyncio.wait(runs, timeout=max(0.0, deadline - loop.time()))

    async def stop(self) -> None:
        """End what still runs."""
        await self._schedule.stop()
        if self._keeping is not None:
            with suppress(asyncio.CancelledError):
                await self._keeping

    async def _keep(self) -> None:
        while True:
            self._follow()
            self._schedule.look()
            await asyncio.sleep(min(self._schedule.wait(), _LOOK))

    def _follow(self) -> None:
        """Take the file up if it has changed."""
        if not self._file.changed():
            return
        try:
            commands = self._read()
        except CrontabError as error:
            self._refuse(error)
            self._send(Troubled([self._trouble]))
            return
        log.info("%s has changed: %d commands", self._file.path, len(commands))
        self._schedule.take(commands)
        if self._trouble:
            self._trouble = ""
            self._send(Troubled([]))

    def _read(self) -> tuple[ScheduledCommand, ...]:
        text = self._file.read()
        commands = self._parse(text)
        self._journal.file, self._journal.text = str(self._file.path), text
        return commands

    def _parse(self, text: str) -> tuple[ScheduledCommand, ...]:
        return parse(text, str(self._file.path), self._zone)

    def _refuse(self, error: CrontabError) -> None:
        self._trouble = f"the crontab is refused, the one before goes on: {error}"
        log.error("%s", self._trouble)

    def _report(self) -> None:
        """Report what has changed for `platform status`."""
        document = {"file": str(self._file.path), "commands": self._schedule.document()}
        if document != self._reported:
            self._reported = document
            self._send(Scheduled(document))
