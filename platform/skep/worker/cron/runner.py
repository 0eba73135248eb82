"""One cron in the timer: when it is due, its runs, and what is kept of both."""

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from skep.api.cron import CronJob
from skep.base.backoff import Backoff
from skep.base.errors import EngineError, PluginError
from skep.engine import binding
from skep.table.journal import DELIVERING, RUNNING, WAITING, CronRun, CronState
from skep.worker.cron import ticker
from skep.worker.cron.delivery import envelope
from skep.worker.cron.execution import CronExecution, execute
from skep.worker.cron.record import INTERRUPTED, Record
from skep.worker.cron.ticker import Due, Instant, Timing
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

# While the engine is out of reach.
_BACKOFF = Backoff(first=0.5, factor=2.0, cap=10.0, jitter=0.2)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Clocks:
    """Unix time, and the monotonic clock, in seconds; `boot` names the start of the latter."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boot: str = ""

    @classmethod
    def of_machine(cls) -> "Clocks":
        """Return the clocks of this machine."""
        return cls(boot=_BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "")

    def now(self) -> Instant:
        return Instant(self.wall(), self.monotonic(), self.boot)


class CronRunner:
    """One cron. `entered` is the moment under which it stands in the agenda."""

    def __init__(
        self, name: str, job: CronJob, workplace: Workplace, clocks: Clocks, record: Record
    ) -> None:
        self.name = name
        self.line = ticker.timeline(job.terms)
        self.entered: float | None = None
        self.runs: set[asyncio.Task[None]] = set()
        self._job = job
        self._terms = job.terms
        self._identity = ticker.identity(job.terms)
        self._telemetry = workplace.telemetry
        run = workplace.tables.run if workplace.tables else ""
        self._platform_run, self._generation = run, f"{run}/{workplace.generation}"
        self._clocks = clocks
        self._record = record
        self._timing = Timing(None)
        self._waiting: Due | None = None
        self._elsewhere = False
        self._ours: set[int] = set()
        self._stopped, self._ended, self._n, self._missed = 0.0, "", 0, 0

    # -- from one timer to the next --------------------------------------------------------------

    def probe(self) -> None:
        """Ask the trigger once. Raises PluginError if it fails."""
        try:
            ticker.start(self.line, self._now(), immediate=False)
        except (Exception, SystemExit) as error:
            text = f"The trigger of the cron {self.name} failed: {error!r}"
            raise PluginError(self.name.partition(".")[0], text) from error

    def begin(self, state: CronState | None, running: bool = False) -> None:
        """Start, or go on where another timer was; `running` says that one there still runs."""
        now, state = self._clocks.now(), state or CronState()
        self._n, self._missed = state.n, state.missed
        self._stopped, self._ended = state.stopped, ""
        self._elsewhere = running or self._runs_elsewhere()
        timing = ticker.resume(self.line, state, self._terms, now)
        if timing is not None and state.ended == self._generation:
            self._ended, self._timing = state.ended, Timing(None)
        elif timing is None or state.ended:
            immediate = self._terms.immediate and not self._stopped
            self._timing = ticker.start(self.line, now.on(self.line), immediate)
        else:
            self._timing = timing
            if self._terms.immediate and state.run != self._platform_run and not self._stopped:
                self._run_at_start(now)

    def state(self, now: Instant | None = None) -> CronState:
        """Return what a later timer needs to go on, including a moment that waits."""
        now = now or self._clocks.now()
        due = self._waiting.at if self._waiting else self._timing.due
        last = self._timing.last
        return CronState(
            terms=self._identity,
            due=None if due is None else now.unix(self.line, due),
            last=None if last is None else now.unix(self.line, last),
            wall=now.wall,
            monotonic=now.monotonic,
            boot=now.boot,
            n=self._n,
            missed=self._missed,
            stopped=self._stopped,
            ended=self._ended,
            run=self._platform_run,
        )

    def end(self) -> Mapping[str, Any]:
        """Stop, and return what the successor needs. A cron that was stopped by its code, or whose
        trigger failed, starts again there."""
        handover: dict[str, Any] = {"running": True} if self._running else {}
        if not self._ended:
            handover["state"] = msgspec.to_builtins(self.state())
        self._waiting, self._timing = None, Timing(None)
        return handover

    def go_on(self) -> None:
        """Deliver again what the timer before may not have delivered."""
        if self._in_task:
            for run in self._record.runs(self.name):
                if run.outcome == DELIVERING:
                    self._launch(self._deliver(run))

    def alone(self) -> None:
        """No other process runs this cron any more: what has not ended there was cut."""
        self._elsewhere = False
        if self._in_task:
            self._launch(self._settle_lost())
        for run in [] if self._in_task else self._record.runs(self.name):
            if run.unfinished and run.n not in self._ours:
                self._record.end(self.name, run, self._telemetry, INTERRUPTED)
        self._run_waiting()

    # -- when it is due --------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """Its next moment, None if it is not due any more."""
        return None if self._stopped or self._ended else self._timing.due

    def look(self, now: Instant) -> None:
        """Do what is due now."""
        if self._job.stopped:
            self.end_by_code()
        elif self.due is not None:
            moment = now.on(self.line)
            self._reckon(now, lambda: ticker.look(self.line, self._timing, moment, self._terms))

    def end_by_code(self) -> None:
        """End it for this generation, if its code wants that."""
        if self._job.stopped and not self._ended:
            self._give_up()

    def rebase(self, jump: float) -> None:
        """The wall clock jumped by so many seconds."""
        now = self._clocks.now()
        moment = now.on(self.line)
        self._reckon(now, lambda: (ticker.rebase(self.line, self._timing, moment, jump), None))

    def _reckon(self, now: Instant, decide: Callable[[], tuple[Timing, Due | None]]) -> None:
        """Apply a decision; a trigger that raises ends its cron and no other."""
        before = self._timing
        try:
            self._timing, due = decide()
        except Exception:
            log.exception(
                "The trigger of the cron %s failed; it is not due again in this generation.",
                self.name,
            )
            self._give_up()
            return
        if due is not None:
            self._come(due)
        elif self._timing != before:
            self._keep()
        if self._timing != before:
            self._report_next(now)

    def _give_up(self) -> None:
        self._ended, self._timing, self._waiting = self._generation, Timing(None), None
        self._keep()
        self._report_next(self._clocks.now())

    def _come(self, due: Due) -> None:
        """Decide what becomes of a moment, keep that, and count those without a run of their
        own."""
        late = due.missed + due.too_late
        verdict = "late" if due.too_late else self._verdict()
        overlapped = int(verdict == "skip" or (verdict == "wait" and self._waiting is not None))
        self._missed += late + overlapped
        if verdict == "run":
            self._start(due)
        else:
            if verdict == "wait":
                self._waiting = due
            self._keep()
        for reason, count in (("late", late), ("overlap", overlapped)):
            if count:
                self._telemetry.point("cron.misfired", cron=self.name, reason=reason, count=count)

    def _verdict(self) -> str:
        if not self._in_task:
            return ticker.overlapping(self._terms.overlap, running=self._running)
        if self._terms.overlap == "allow":
            return "run"
        # The engine lets one run at a time, and the next wait.
        unfinished = sum(run.unfinished for run in self._record.runs(self.name))
        if unfinished < (2 if self._terms.overlap == "queue" else 1):
            return "run"
        self._launch(self._settle_lost())
        return "skip"

    def _run_at_start(self, now: Instant) -> None:
        """It is due at the start of the platform too: that makes up for what came before."""
        moment, due = now.on(self.line), self._timing.due
        if due is not None and due <= moment:
            _, before = self.line.latest(due, moment)
            self._missed += before + 1
            self._telemetry.point("cron.misfired", cron=self.name, reason="late", count=before + 1)
        self._timing = Timing(moment, self._timing.last)

    # -- by hand ---------------------------------------------------------------------------------

    def run_now(self) -> str:
        """Run it now, whether it is due or not; return a sentence. Raises ValueError if it runs
        already and may not overlap."""
        verdict = self._verdict()
        if verdict == "skip":
            raise ValueError(f"The cron {self.name} still runs, and does not overlap.")
        due = Due(self._now())
        if verdict == "wait":
            self._waiting = due
            self._keep()
            return f"{self.name} still runs; it runs again when that ends."
        self._start(due, by_hand=True)
        return f"{self.name} runs; that is run {self._n}."

    def stop(self) -> str:
        """Let it be due no more until `start`; return a sentence."""
        if self._stopped:
            return f"{self.name} was stopped already."
        self._stopped, self._waiting = self._clocks.wall(), None
        self._keep()
        self.report()
        return f"{self.name} is stopped until `platform cron start {self.name}`."

    def start(self) -> str:
        """Let it be due again; return a sentence."""
        if not self._stopped and not self._ended:
            return f"{self.name} was not stopped."
        if self._ended:
            self._job.stopped = False
            self._timing = ticker.start(self.line, self._now(), immediate=False)
        self._stopped, self._ended = 0.0, ""
        self._timing = ticker.skip(self.line, self._timing, self._now())
        self._keep()
        self.report()
        return f"{self.name} is due again."

    # -- runs ------------------------------------------------------------------------------------

    @property
    def _in_task(self) -> bool:
        return self._terms.run_in == "task"

    @property
    def _running(self) -> bool:
        return self._elsewhere or (bool(self.runs) and not self._in_task)

    def _runs_elsewhere(self) -> bool:
        return not self._in_task and any(run.unfinished for run in self._record.runs(self.name))

    def _start(self, due: Due, *, by_hand: bool = False) -> None:
        self._n += 1
        now = self._clocks.now()
        run = CronRun(
            n=self._n,
            scheduled=now.unix(self.line, due.at),
            begun=now.wall,
            missed=self._missed,
            outcome=DELIVERING if self._in_task else RUNNING,
            by_hand=by_hand,
        )
        self._missed = 0
        self._record.begin(self.name, self.state(now), run)
        if self._in_task:
            self._launch(self._deliver(run))
        else:
            self._ours.add(run.n)
            self._launch(self._execute(run, max(0.0, now.on(self.line) - due.at)))

    def _launch(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.runs.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.runs.discard(task)
        self._run_waiting()

    def _run_waiting(self) -> None:
        if self._waiting is not None and not self._running:
            due, self._waiting = self._waiting, None
            self._start(due)

    async def _execute(self, run: CronRun, lag: float) -> None:
        ended = await execute(CronExecution(self.name, self._job, run), self._telemetry, lag)
        self._record.write(self.name, ended)
        self._ours.discard(run.n)

    async def _deliver(self, run: CronRun) -> None:
        """Put a run into the engine, however long that takes."""
        delivery = envelope(self.name, run, allow_overlap=self._terms.overlap == "allow")
        for n in itertools.count(1):
            try:
                await binding.current().put([delivery])
            except EngineError as error:
                log.warning("Run %d of the cron %s waits: %s", run.n, self.name, error)
                await asyncio.sleep(_BACKOFF.delay(n))
            else:
                self._record.advance(self.name, replace(run, outcome=WAITING), DELIVERING)
                break

    async def _settle_lost(self) -> None:
        """End the runs whose deliveries have gone: cancelled, purged, or among the dead letters."""
        for run in self._record.runs(self.name):
            if run.outcome not in (WAITING, RUNNING):
                continue
            delivery = envelope(self.name, run, allow_overlap=True).id
            try:
                row = await binding.current().engine.find(delivery)
            except EngineError:
                return
            if row is not None and row.state != "dead":
                continue
            why = (
                "its delivery was removed" if row is None else f"it is a dead letter ({row.reason})"
            )
            if self._record.advance(self.name, replace(run, error=why), run.outcome) is None:
                self._record.end(self.name, run, self._telemetry, why)

    # -- clocks ----------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clocks.now().on(self.line)

    def _keep(self) -> None:
        self._record.keep(self.name, self.state())

    def report(self) -> None:
        """Publish when it is due next, and whether it is stopped."""
        self._report_next(self._clocks.now())
        self._telemetry.point("cron.stopped", cron=self.name, stopped=int(bool(self._stopped)))

    def _report_next(self, now: Instant) -> None:
        due = self.due
        moment = math.nan if due is None else now.unix(self.line, due)
        self._telemetry.point("cron.due", cron=self.name, next=moment)
