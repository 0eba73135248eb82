"""The timer: one process of a generation that runs all its crons.

A single timer of the event loop wakes when the next cron is due, but at least once a second, so
that a step of the wall clock is noticed. Each run is a task of its own (a `def` in a thread of its
own), so that a slow or failing cron holds up no other.
"""

import asyncio
import contextvars
import inspect
import logging
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from skep.api.cron import CronJob, Tick
from skep.base.logs.log import bound
from skep.base.telemetry import Telemetry
from skep.config.env.settings import pin
from skep.worker.calling import completed
from skep.worker.cron import ticker
from skep.worker.cron.ticker import Due, Timing
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0


@dataclass(frozen=True)
class Clocks:
    """Unix time, and the monotonic clock; in seconds."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class CronKind:
    """Runs the crons of the catalog.

    The handover contains for each cron when it is due next, so that the successor keeps its phase:
    a moment between the two runs there, late but once. It also contains whether a run is still
    going on, which counts as a run of the successor until the predecessor is gone.
    """

    def __init__(self, workplace: Workplace, clocks: Clocks | None = None) -> None:
        self._workplace = workplace
        self._clocks = clocks or Clocks()
        self._runners: list[_Runner] = []
        self._timer: asyncio.TimerHandle | None = None
        self._offset = 0.0
        self._alone = False
        workplace.when_alone = self._predecessor_gone

    async def prepare(self) -> None:
        """Read the terms of all crons, and ask each trigger once, so that it fails here if it
        fails."""
        self._runners = [
            _Runner(name, job, self._workplace.telemetry, self._clocks)
            for name, job in self._workplace.catalog.crons.items()
        ]
        for runner in self._runners:
            runner.begin({})

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> None:
        """Start the clock, or go on with the predecessor's."""
        self._offset = self._clocks.wall() - self._clocks.monotonic()
        for runner in self._runners:
            runner.begin(handover.get(runner.name, {}))
            if self._alone:
                runner.alone()
            runner.report_next()
        self._workplace.telemetry.point("cron.leads", leads=1)
        self._wake()

    def retire(self) -> Mapping[str, Any]:
        """Stop the clock."""
        if self._timer is None:
            return {}
        self._timer.cancel()
        self._timer = None
        self._workplace.telemetry.point("cron.leads", leads=0)
        return {runner.name: runner.end() for runner in self._runners}

    async def drain(self, deadline: float) -> None:
        if runs := self._runs():
            loop = asyncio.get_running_loop()
            await asyncio.wait(runs, timeout=max(0.0, deadline - loop.time()))

    async def stop(self) -> None:
        """Cancel what still runs. A thread cannot be cancelled: it ends with the process."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        runs = self._runs()
        for run in runs:
            run.cancel()
        # A run that has not begun ends as cancelled, which is not a failure.
        await asyncio.gather(*runs, return_exceptions=True)

    def _predecessor_gone(self) -> None:
        self._alone = True
        for runner in self._runners:
            runner.alone()

    def _runs(self) -> set[asyncio.Task[None]]:
        return {run for runner in self._runners for run in runner.runs}

    def _wake(self) -> None:
        try:
            self._notice_jump()
            for runner in self._runners:
                runner.look()
        finally:
            # The clock goes on even if a subscriber of telemetry raises.
            wait = min((runner.wait() for runner in self._runners), default=LONGEST_SLEEP)
            delay = min(max(wait, 0.0), LONGEST_SLEEP)
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _notice_jump(self) -> None:
        offset = self._clocks.wall() - self._clocks.monotonic()
        jump = ticker.jumped(self._offset, offset)
        self._offset = offset
        if jump:
            log.warning("The wall clock jumped by %+.1f s; intervals go on unchanged.", jump)
            self._workplace.telemetry.point("cron.clock_jumped", seconds=jump)
            for runner in self._runners:
                runner.rebase(jump)


class _Runner:
    """One cron: when it is due, and its runs."""

    def __init__(self, name: str, job: CronJob, telemetry: Telemetry, clocks: Clocks) -> None:
        self.name = name
        self.runs: set[asyncio.Task[None]] = set()
        self._job = job
        self._terms = job.terms
        self._line = ticker.timeline(job.terms)
        self._is_async = inspect.iscoroutinefunction(job.handler)
        self._telemetry = telemetry
        self._clocks = clocks
        self._timing = Timing(None)
        self._waiting: Due | None = None
        self._elsewhere = False
        self._given_up = False
        self._n = 0
        self._missed = 0

    def begin(self, handover: Mapping[str, Any]) -> None:
        """Start, or continue where a cron with the same terms was."""
        self._n = handover.get("n", 0)
        self._elsewhere = handover.get("running", False)
        if handover.get("terms") == str(self._terms):
            self._timing = Timing(handover["due"], handover["last"])
            self._missed = handover["missed"]
        else:
            self._timing = ticker.start(self._line, self._now(), self._terms.immediate)

    def end(self) -> Mapping[str, Any]:
        """Stop, and return what the successor needs, including a moment that waits. A cron that was
        stopped, or whose trigger failed, starts again there."""
        if self._given_up:
            return {"running": True} if self._running else {}
        handover = {
            "terms": str(self._terms),
            "due": self._waiting.at if self._waiting else self._timing.due,
            "last": self._timing.last,
            "n": self._n,
            "missed": self._missed,
            "running": self._running,
        }
        self._waiting, self._timing = None, Timing(None)
        return handover

    def alone(self) -> None:
        """No other process runs this cron any more."""
        self._elsewhere = False
        self._run_waiting()

    @property
    def _running(self) -> bool:
        return self._elsewhere or bool(self.runs)

    def wait(self) -> float:
        return math.inf if self._timing.due is None else self._timing.due - self._now()

    def look(self) -> None:
        if self._job.stopped:
            self._give_up()
        elif not self._given_up:
            self._reckon(lambda: ticker.look(self._line, self._timing, self._now(), self._terms))

    def rebase(self, jump: float) -> None:
        self._reckon(lambda: (ticker.rebase(self._line, self._timing, self._now(), jump), None))

    def _reckon(self, decide: Callable[[], tuple[Timing, Due | None]]) -> None:
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
        if self._timing != before:
            self.report_next()

    def _give_up(self) -> None:
        if not self._given_up:
            self._given_up, self._timing, self._waiting = True, Timing(None), None
            self.report_next()

    def _come(self, due: Due) -> None:
        """Decide what becomes of a moment, and count those without a run of their own."""
        self._miss("late", due.missed + due.too_late)
        if due.too_late:
            return
        match ticker.overlapping(self._terms.overlap, running=self._running):
            case "run":
                self._start(due)
            case "skip":
                self._miss("overlap", 1)
            case "wait":
                self._miss("overlap", 1 if self._waiting else 0)
                self._waiting = due

    def _miss(self, reason: str, count: int) -> None:
        if count:
            self._missed += count
            self._telemetry.point("cron.misfired", cron=self.name, reason=reason, count=count)

    def _start(self, due: Due) -> None:
        self._n += 1
        planned = datetime.fromtimestamp(self._on_wall(due.at), self._line.zone)
        tick = Tick(planned, self._n, self._missed)
        self._missed = 0
        lag = self._now() - due.at
        run = asyncio.get_running_loop().create_task(self._run(tick, lag))
        self.runs.add(run)
        run.add_done_callback(self._finished)

    def _finished(self, run: asyncio.Task[None]) -> None:
        self.runs.discard(run)
        self._run_waiting()

    def _run_waiting(self) -> None:
        if self._waiting is not None and not self._running:
            due, self._waiting = self._waiting, None
            self._start(due)

    def _now(self) -> float:
        return self._clocks.wall() if self._line.wall else self._clocks.monotonic()

    def _on_wall(self, moment: float) -> float:
        if self._line.wall:
            return moment
        return self._clocks.wall() + moment - self._clocks.monotonic()

    def report_next(self) -> None:
        due = self._timing.due
        moment = math.nan if due is None else self._on_wall(due)
        self._telemetry.point("cron.due", cron=self.name, next=moment)

    async def _run(self, tick: Tick, lag: float) -> None:
        pin()
        self._telemetry.point("cron.started", cron=self.name, lag=lag)
        with (
            bound(cron=self.name, n=tick.n),
            self._telemetry.span("cron.finished", cron=self.name) as fields,
        ):
            fields["outcome"] = await self._outcome(tick)

    async def _outcome(self, tick: Tick) -> str:
        handler = self._job.handler
        try:
            if self._is_async:
                return await self._in_loop(lambda: completed(handler(tick)))
            return await self._in_thread(tick)
        except BaseException as error:
            # The handler may raise it too, but only a cancelled task is `cancelling`.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                log.warning("The cron %s was cut off.", self.name)
                return "cancelled"
            log.exception("The cron %s failed.", self.name)
            return "failure"

    async def _in_loop(self, work: Callable[[], Awaitable[Any]]) -> str:
        try:
            async with asyncio.timeout(self._terms.timeout) as scope:
                await work()
        except TimeoutError:
            if not scope.expired():
                raise
            log.warning("The cron %s was cancelled after %s s.", self.name, self._terms.timeout)
            return "timeout"
        return "success"

    async def _in_thread(self, tick: Tick) -> str:
        call = _call_in_thread(self._job.handler, tick)
        done, _ = await asyncio.wait({call}, timeout=self._terms.timeout)
        if not done:
            log.warning("The cron %s runs for more than %s s.", self.name, self._terms.timeout)
            await asyncio.wait({call})
        value, error = call.result()
        if error is not None:
            raise error
        if value is not None:
            return await self._in_loop(lambda: completed(value))
        return "success" if done else "timeout"


def _call_in_thread(
    handler: Callable[[Tick], Any], tick: Tick
) -> asyncio.Future[tuple[Any, BaseException | None]]:
    """Call it in its own thread; the future has what it returned, and what it raised.

    Not in a pool: crons that hang could take all its threads, and the interpreter would wait for
    them at exit.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = handler(tick)
        except BaseException as raised:  # noqa: BLE001  # it travels in the future
            error = raised
        # The loop may be closed by now: the worker has ended without waiting for this thread.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set_result, (value, error))

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=f"cron-{tick.n}", daemon=True).start()
    return done
