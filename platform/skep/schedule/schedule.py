"""The schedule in force: when each command is due, and what runs."""

import asyncio
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from skep.base.telemetry import Telemetry
from skep.schedule.crontab import ScheduledCommand
from skep.schedule.journal import Journal, LastMoment, RunRecord
from skep.schedule.moments import following, judge
from skep.schedule.run import STOP, CommandRun, Outcome, label

# How long after a start the runs of the schedule before it may go on: their guards end them.
_CUT_OFF = STOP + 5.0

log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """A command in force. Up to `last` all moments are judged; `waiting` is one that waits for the
    end of a run."""

    command: ScheduledCommand
    last: float
    waiting: float | None = None
    next: float | None = None
    outcome: Outcome | None = None
    ended: float | None = None


@dataclass
class Schedule:
    """Judges the moments of all commands, and runs what is due.

    `environment` is that of the commands, `clock` returns Unix time, `changed()` is called when
    `document` shows something else. Runs of a command that is no longer in the file go on.
    """

    journal: Journal
    telemetry: Telemetry
    environment: Mapping[str, str]
    clock: Callable[[], float]
    changed: Callable[[], None]
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _runs: dict[CommandRun, asyncio.Task[None]] = field(default_factory=dict)
    _elsewhere: list[RunRecord] = field(default_factory=list)
    _elsewhere_until: float = 0.0
    _accepting: bool = True
    _saving: asyncio.Handle | None = None

    def take(self, commands: Sequence[ScheduledCommand]) -> None:
        """Apply a crontab. One with the name and the times of one before goes on with
        its moments; any other begins now."""
        now, before, self._entries = self.clock(), self._entries, {}
        for command in commands:
            entry = self._entries[command.name] = _Entry(command, now)
            if old := before.get(command.name):
                entry.outcome, entry.ended = old.outcome, old.ended
                entry.waiting = old.waiting
            kept = self._kept(command.name, old)
            if kept is not None and kept.when == command.when:
                entry.last = kept.moment
            self._forecast(entry)
        for name in before.keys() - self._entries.keys():
            self.telemetry.point("cron.due", cron=label(name), next=math.nan)
        self._save()

    def recover(self) -> None:
        """Report the runs that were cut off when the schedule before this one ended. Call it before
        `take`, which writes the journal again."""
        for record in self.journal.runs:
            log.warning(
                "The command %s was cut off when the schedule ended%s.",
                record.name,
                f" (pid {record.pid})" if record.pid else ", perhaps before it was started",
            )
            self.telemetry.point("cron.cut", cron=label(record.name), outcome="interrupted")
        self._elsewhere = [record for record in self.journal.runs if record.pid]
        self._elsewhere_until = self.clock() + _CUT_OFF

    def start_of_platform(self) -> None:
        """Run the commands for `@reboot`."""
        for entry in self._entries.values():
            if entry.command.trigger is None:
                self._come(entry, self.clock())

    def look(self) -> None:
        """Judge all moments up to now, and start what is due."""
        self._elsewhere = [one for one in self._elsewhere if self._lives(one)]
        for entry in self._entries.values():
            self._run_waiting(entry)
            self._judge(entry)

    def wait(self) -> float:
        """Return for how many seconds nothing is due."""
        moments = [entry.next for entry in self._entries.values() if entry.next is not None]
        return max(0.0, min(moments, default=math.inf) - self.clock())

    @property
    def runs(self) -> set[asyncio.Task[None]]:
        """The runs that are going on."""
        return set(self._runs.values())

    def close(self) -> None:
        """Start nothing more. A moment that waits is kept for the next schedule."""
        self._accepting = False
        self._save()

    async def stop(self) -> None:
        """End all runs."""
        for run in self._runs:
            run.stop()
        if self._runs:
            await asyncio.wait(self.runs)
        self._save()

    def document(self) -> list[dict[str, Any]]:
        """Return what `platform status` shows of each command."""
        return [
            {
                "name": entry.command.name,
                "line": entry.command.line,
                "schedule": entry.command.when,
                "next": entry.next,
                "pids": [run.pid for run in self._runs if run.command.name == name],
                "last": {"ended": entry.ended, "outcome": entry.outcome},
            }
            for name, entry in self._entries.items()
        ]

    def _kept(self, name: str, old: _Entry | None) -> LastMoment | None:
        if old is not None:
            return LastMoment(old.command.when, old.last)
        return self.journal.moments.get(name)

    def _judge(self, entry: _Entry) -> None:
        trigger, now = entry.command.trigger, self.clock()
        if trigger is None or (entry.next is not None and entry.last <= now < entry.next):
            return
        found = judge(trigger, entry.last, now, entry.command.terms)
        if found.last != entry.last:
            entry.last = found.last
            self._forecast(entry)
        self._miss(entry, "late", found.missed)
        if found.due is not None:
            self._come(entry, found.due)
        elif found.missed:
            self._note()

    def _come(self, entry: _Entry, moment: float) -> None:
        """Decide what becomes of a moment that is due."""
        overlap = entry.command.terms.overlap
        if overlap == "allow" or not self._running(entry.command.name):
            self._start(entry.command, moment)
        elif overlap == "queue":
            self._miss(entry, "overlap", 1 if entry.waiting is not None else 0)
            entry.waiting = moment
            self._note()
        else:
            self._miss(entry, "overlap", 1)
            self._note()

    def _run_waiting(self, entry: _Entry) -> None:
        if entry.waiting is not None and not self._running(entry.command.name):
            moment, entry.waiting = entry.waiting, None
            self._start(entry.command, moment)

    def _start(self, command: ScheduledCommand, moment: float) -> None:
        if not self._accepting:
            return
        self._note()  # before the run begins: its moment must not make a second one
        run = CommandRun(command, moment, self.telemetry, self._note)
        self._runs[run] = asyncio.create_task(self._run(run))

    async def _run(self, run: CommandRun) -> None:
        try:
            outcome = await run.run(self.environment, self.clock())
        finally:
            del self._runs[run]
        if (entry := self._entries.get(run.command.name)) is not None:
            entry.outcome, entry.ended = outcome, self.clock()
            if self._accepting:
                self._run_waiting(entry)
        self._note()

    def _running(self, name: str) -> bool:
        here = any(run.command.name == name for run in self._runs)
        return here or any(record.name == name for record in self._elsewhere)

    def _lives(self, record: RunRecord) -> bool:
        """Whether a process of the group of a run is left."""
        if self.clock() >= self._elsewhere_until:
            return False
        with suppress(OSError):
            os.killpg(record.pid, 0)
            return True
        return False

    def _miss(self, entry: _Entry, reason: str, count: int) -> None:
        if count:
            name = entry.command.name
            log.warning("The command %s missed %d moments: %s", name, count, _REASONS[reason])
            self.telemetry.point("cron.misfired", cron=label(name), reason=reason, count=count)

    def _forecast(self, entry: _Entry) -> None:
        trigger = entry.command.trigger
        entry.next = None if trigger is None else following(trigger, entry.last)
        moment = math.nan if entry.next is None else entry.next
        self.telemetry.point("cron.due", cron=label(entry.command.name), next=moment)

    def _note(self) -> None:
        """Save in the next turn of the event loop, once for all that happens in this one."""
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_soon(self._save)

    def _save(self) -> None:
        """Write down what a schedule after this one has to know."""
        self.journal.moments = {
            # What waits is judged again by the next schedule.
            name: LastMoment(
                entry.command.when, entry.last if entry.waiting is None else entry.waiting - 1
            )
            for name, entry in self._entries.items()
            if entry.command.trigger is not None
        }
        self.journal.runs = [RunRecord(run.command.name, run.moment, run.pid) for run in self._runs]
        self._saving = None
        self.journal.save()
        self.changed()


_REASONS = {"late": "they were due while nothing ran", "overlap": "it was still running"}
