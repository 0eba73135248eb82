"""The timer: one process of a generation that runs all its crons.

An alarm rings when the next cron is due, but at least once a second, so that a step of the wall
clock is noticed. Each run is a task of its own (a `def` in a thread of its own), so that a slow or
failing cron holds up no other. Where each cron stands is in the journal, so that a timer that is
killed, a restart or a stopped platform loses no moment.
"""

import asyncio
import difflib
import logging
import socket
from collections.abc import Mapping
from typing import Any

import msgspec

from skep.table.journal import CronState
from skep.wire.lifecycle import EXIT_HUNG
from skep.wire.messages import CronAnswer, CronOrder
from skep.worker.cron import ticker
from skep.worker.cron.agenda import Agenda
from skep.worker.cron.alarm import Alarm
from skep.worker.cron.execution import CronExecution
from skep.worker.cron.record import Record
from skep.worker.cron.runner import Clocks, CronRunner
from skep.worker.cron.ticker import Instant
from skep.worker.cron.watch import LoopWatch
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0


class CronKind:
    """Runs the crons of the catalog.

    What the journal knows of each cron, or else the handover, says when it is due next, so that the
    successor keeps its phase: a moment between the two runs there, late but once. A run that still
    goes on in the predecessor counts as one of the successor until the predecessor is gone.
    """

    def __init__(self, workplace: Workplace, clocks: Clocks | None = None) -> None:
        self._workplace = workplace
        self._clocks = clocks or Clocks.of_machine()
        self._record = Record(workplace.tables)
        self._runners: dict[str, CronRunner] = {}
        self._agenda = Agenda()
        self._alarm: Alarm | None = None
        self._watch: LoopWatch | None = None
        self._offset = self._looked = 0.0
        self._alone = False
        workplace.when_alone = self._predecessor_gone
        workplace.cron_order = self.obey
        workplace.trouble = lambda: self._record.trouble

    async def prepare(self) -> None:
        """Read the terms of all crons, and ask each trigger once, so that it fails here if it
        fails."""
        self._runners = {
            name: CronRunner(name, job, self._workplace, self._clocks, self._record)
            for name, job in self._workplace.catalog.crons.items()
        }
        for runner in self._runners.values():
            runner.probe()

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> None:
        """Start the clock, or go on with the predecessor's."""
        now = self._clocks.now()
        self._offset = now.wall - now.monotonic
        known = self._record.states()
        for name, runner in self._runners.items():
            left = handover.get(name, {})
            given = left.get("state")
            state = msgspec.convert(given, CronState) if given else known.get(name)
            runner.begin(state, running=left.get("running", False))
        self._record.declare(
            {name: runner.state() for name, runner in self._runners.items()}, now.wall
        )
        self._workplace.telemetry.point("cron.leads", leads=1)
        self._alarm = Alarm(self._wake)
        limit = self._workplace.options.cron_hang
        self._watch = LoopWatch(limit, self._hung, EXIT_HUNG)
        for runner in self._runners.values():
            runner.go_on()
            if self._alone:
                runner.alone()
            runner.report()
            self._agenda.enter(runner)
        self._wake()

    def retire(self) -> Mapping[str, Any]:
        """Stop the clock."""
        if self._alarm is None:
            return {}
        self._stop_clock()
        self._workplace.telemetry.point("cron.leads", leads=0)
        return {name: runner.end() for name, runner in self._runners.items()}

    async def drain(self, deadline: float) -> None:
        if runs := self._runs():
            loop = asyncio.get_running_loop()
            await asyncio.wait(runs, timeout=max(0.0, deadline - loop.time()))

    async def stop(self) -> None:
        """Cancel what still runs. A thread cannot be cancelled: it ends with the process."""
        self._stop_clock()
        runs = self._runs()
        for run in runs:
            run.cancel()
        # A run that has not begun ends as cancelled, which is not a failure.
        await asyncio.gather(*runs, return_exceptions=True)
        if self._watch is not None:
            self._watch.stop()

    def obey(self, order: CronOrder) -> CronAnswer:
        """Do what an operator wants; return a sentence, or why it is refused."""
        if self._alarm is None:
            return CronAnswer(order.number, refusal="The timer is being replaced.", code="busy")
        if (runner := self._runners.get(order.name)) is None:
            return CronAnswer(order.number, refusal=self._unknown(order.name), code="usage")
        try:
            sentence = {"run": runner.run_now, "stop": runner.stop, "start": runner.start}[
                order.verb
            ]()
        except ValueError as error:
            return CronAnswer(order.number, refusal=str(error), code="running")
        self._agenda.enter(runner)
        self._alarm.set(self._delay())
        return CronAnswer(order.number, sentence)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._runners, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        return f"No plugin has a cron {name}.{meant} The crons are: {', '.join(self._runners)}."

    def _predecessor_gone(self) -> None:
        self._alone = True
        if self._alarm is not None:
            for runner in self._runners.values():
                runner.alone()

    def _runs(self) -> set[asyncio.Task[None]]:
        return {run for runner in self._runners.values() for run in runner.runs}

    def _stop_clock(self) -> None:
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    # -- the clock -------------------------------------------------------------------------------

    def _wake(self) -> None:
        now = self._clocks.now()
        try:
            self._notice_jump(now)
            self._look_at_all(now)
            for runner in self._agenda.take(now):
                try:
                    runner.look(now)
                finally:
                    self._agenda.enter(runner)
        finally:
            # The clock goes on even if a subscriber of telemetry raises.
            if self._alarm is not None:
                self._alarm.set(self._delay())

    def _delay(self) -> float:
        return min(self._agenda.wait(self._clocks.now()), LONGEST_SLEEP)

    def _look_at_all(self, now: Instant) -> None:
        """Once a second, look whether the code of a cron has stopped it."""
        if now.monotonic - self._looked >= LONGEST_SLEEP:
            self._looked = now.monotonic
            for runner in self._runners.values():
                runner.end_by_code()

    def _notice_jump(self, now: Instant) -> None:
        jump = ticker.jumped(self._offset, now.wall - now.monotonic)
        self._offset = now.wall - now.monotonic
        if jump:
            log.warning("The wall clock jumped by %+.1f s; intervals go on unchanged.", jump)
            self._workplace.telemetry.point("cron.clock_jumped", seconds=jump)
            for runner in self._runners.values():
                runner.rebase(jump)
                self._agenda.enter(runner)

    def _hung(self, execution: CronExecution | None, stack: str) -> None:
        """The loop is blocked: report that before this process ends. Runs in a thread."""
        limit = f"{self._workplace.options.cron_hang:g} s"
        name = execution.name if execution else ""
        culprit = f"The cron {name}" if name else "Something other than a cron"
        log.error(
            "%s has blocked the event loop of the timer for %s: the timer is replaced, and its "
            "other crons go on. Make the cron a `def`, which runs in a thread. It is here:\n%s",
            *(culprit, limit, stack),
        )
        self._workplace.telemetry.point("cron.hung", cron=name)
        if execution is not None:
            why = f"it blocked the event loop for {limit}"
            self._record.end(name, execution.run, self._workplace.telemetry, why, "hung")
