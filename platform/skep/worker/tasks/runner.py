"""One lease, from its hand-out to its settlement: decode, handle, judge, settle, report."""

import asyncio
import contextvars
import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from skep.api.tasks.context import Cancellation, Context
from skep.api.tasks.policy import Discard, HandlerTimeout, Retry
from skep.base.backoff import Backoff
from skep.base.errors import EngineError, StoreFull, StoreUnavailable
from skep.base.logs.correlation import correlated
from skep.base.logs.log import bound
from skep.config.env.settings import pin
from skep.engine import binding
from skep.engine.contract import LARGEST_PROGRESS, Engine, Lease, Settlement
from skep.engine.headers import STEP
from skep.engine.senders import is_newer
from skep.worker.calling import completed
from skep.worker.fork_guard import end_if_forked
from skep.worker.tasks.judge import (
    CancelledDelivery,
    CutOff,
    Ending,
    LostTooOften,
    Outcome,
    Raised,
    Returned,
    counted,
    is_suspect,
    judge,
    judge_undecodable,
    judge_unknown,
    outcome,
)
from skep.worker.tasks.queues import CutOffTerms
from skep.worker.tasks.steps import (
    InvalidResult,
    Step,
    Undecodable,
    Unknown,
    decode,
    lost_tries,
    origin,
)
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

_LOST = (
    "The lease of %s %s was lost while it ran, so this run does not count: "
    "it runs again, or has already."
)
# While the store does not take settlements.
_BACKOFF = Backoff(first=0.5, factor=2.0, cap=10.0, jitter=0.2)
# How long a coroutine may take to end after it was cancelled because its time was over.
_STUBBORN = 1.0
# Longer than a rollout takes beyond the time its workers have to come up (seconds).
_SLACK = 10.0
# For how long what a newer generation delivered is left to its workers (ms).
_LEFT_TO_OTHERS = 250
# Progress: a handler may report it in every round of a loop; an operator looks now and then.
_EVERY = 0.2


class Settler:
    """Settles leases in the order given, while `work` runs: what arrives while the store is busy is
    settled together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[Settlement, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def settle(self, settlement: Settlement, report: Callable[[], None] = lambda: None) -> None:
        """Settle a lease, then call `report`, unless the lease was lost in the meantime."""
        self._waiting.append((settlement, report))
        self._idle.clear()
        self._wake.set()

    async def wait_until_idle(self) -> None:
        """Return when every lease given is settled."""
        await self._idle.wait()

    async def work(self) -> None:
        """Settle for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            accepted = await self._insist([settlement for settlement, _ in batch])
            for (settlement, report), counts in zip(batch, accepted, strict=True):
                if counts:
                    report()
                else:
                    envelope = settlement.lease.envelope
                    log.warning(_LOST, envelope.name, envelope.id)
            if not self._waiting:
                self._idle.set()

    async def _insist(self, settlements: Sequence[Settlement]) -> list[bool]:
        for n in itertools.count(1):
            try:
                return await self._engine.settle(settlements)
            except (StoreUnavailable, StoreFull) as error:
                log.warning("%d finished tasks wait to be settled: %s", len(settlements), error)
                await asyncio.sleep(_BACKOFF.delay(n))
        raise AssertionError("unreachable")


class Progress:
    """Takes the progress of handlers, from any thread, and sends it to the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._latest: dict[str, tuple[Lease, str]] = {}
        self._sending: asyncio.Task[None] | None = None

    def note(self, lease: Lease, value: Any) -> None:
        """Note the progress of a lease. Raises TypeError or ValueError if it is not short JSON."""
        text = json.dumps(value, allow_nan=False)
        if len(text.encode()) > LARGEST_PROGRESS:
            raise ValueError(f"Progress is a note of at most {LARGEST_PROGRESS} bytes as JSON.")
        loop = binding.current().loop
        loop.call_soon_threadsafe(self._take, lease, text)

    def _take(self, lease: Lease, text: str) -> None:
        self._latest[lease.token] = (lease, text)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._latest:
            latest, self._latest = self._latest, {}
            for lease, text in latest.values():
                with suppress(EngineError):  # it is a note, and the next is on its way
                    await self._engine.progress(lease, text)
            await asyncio.sleep(_EVERY)


@dataclass(slots=True)
class _Handling:
    """A handler at work; it may continue for `drain` seconds when its worker has to go. Async code
    can be cancelled; a thread cannot."""

    task: asyncio.Task[Any]
    cancellation: Cancellation
    is_async: bool
    drain: float
    cut: bool = False


class Runner:
    """Runs leases; `threads` run handlers that are plain functions."""

    def __init__(self, workplace: Workplace, threads: Executor) -> None:
        self.settler = Settler(workplace.engine)
        self._workplace = workplace
        self._threads = threads
        self._point = workplace.telemetry.point
        self._progress = Progress(workplace.engine)
        self._outliving = CutOffTerms(workplace.options)
        # What a newer generation delivers is not run here while that generation comes up.
        self._overlap = round((workplace.options.boot_timeout + _SLACK) * 1000)
        self._handling: dict[str, _Handling] = {}
        self._cutting_off = False
        self.abandoned = 0

    async def run(self, lease: Lease) -> None:
        """Decode, handle, judge; the settler does the rest."""
        pin()
        if newer := is_newer(lease.envelope.sender, self._workplace.sender):
            now = self._workplace.clock()
            if now - lease.put_at < self._overlap:
                settlement = Settlement(lease, "release", now + _LEFT_TO_OTHERS)
                self.settler.settle(settlement)
                return
        # After a rollback this generation is newer than the code that it runs.
        exact = newer or is_newer(lease.envelope.sender, self._workplace.loaded_by)
        try:
            step = decode(lease, self._workplace.catalog, exact=exact)
        except Unknown as error:
            self._refuse(judge_unknown(lease, str(error), self._workplace.clock()))
        except Undecodable as error:
            self._refuse(judge_undecodable(lease, str(error)))
        else:
            started = time.perf_counter()
            if step.fired:
                lag = max(self._workplace.clock() - step.fired, 0) / 1000
                self._point("event.started", event=step.event, lag=lag)
            with self._counted(lease):
                ending, how = await self._handle(lease, step)
            seconds = time.perf_counter() - started
            settlement = judge(lease, step, ending, self._workplace.clock())
            settlement = counted(settlement, step, ending, how)
            report = partial(self._report, step, ending, settlement, seconds)
            self.settler.settle(settlement, report)

    def is_suspect(self, lease: Lease) -> bool:
        """Return whether a lease needs a worker that holds nothing else."""
        return lease.losses > 0 and is_suspect(
            lease.losses, lost_tries(lease.envelope, self._workplace.catalog)
        )

    def cut_off(self) -> None:
        """Cancel every handler; its delivery goes to another worker."""
        self._cutting_off = True
        for handling in self._handling.values():
            handling.task.cancel()

    def cut_off_overdue(self, elapsed: float) -> float:
        """Cancel the handlers that have exceeded their time, `elapsed` seconds after their worker
        had to go; return in how many seconds the next will, 0 if none will.

        A plain function is left alone: its thread would continue beside the run elsewhere.
        """
        later = [handling.drain - elapsed for handling in self._handling.values()]
        for handling in self._handling.values():
            if handling.is_async and handling.drain <= elapsed and not handling.cut:
                handling.cut = True
                handling.task.cancel()
        return min((seconds for seconds in later if seconds > 0), default=0.0)

    def cancel(self, deliveries: Iterable[str]) -> None:
        """Cancel the handlers of these deliveries, as far as possible."""
        for delivery in deliveries:
            if (handling := self._handling.get(delivery)) is not None:
                handling.cancellation.requested = True
                if handling.is_async:
                    handling.task.cancel()

    def _refuse(self, settlement: Settlement) -> None:
        self.settler.settle(settlement, partial(_report_refusal, settlement))

    @contextmanager
    def _counted(self, lease: Lease) -> Iterator[None]:
        queue = lease.envelope.queue
        waited = self._workplace.clock() - max(lease.put_at, lease.envelope.due)
        self._point("task.waited", queue=queue, seconds=max(waited, 0) / 1000)
        self._point("task.running", queue=queue, by=1)
        self._workplace.served()
        try:
            yield
        finally:
            self._point("task.running", queue=queue, by=-1)

    # -- handle ----------------------------------------------------------------------------------

    async def _handle(self, lease: Lease, step: Step) -> tuple[Ending, Outcome]:
        delivery = origin(lease.envelope)
        ctx = Context(
            id=delivery,
            attempt=lease.attempt,
            tries=step.policy.tries,
            log=logging.getLogger(step.name),
            slot=self._workplace.slot,
            generation=self._workplace.generation,
            note=partial(self._progress.note, lease),
        )
        with (
            correlated(lease.envelope.headers),
            bound(task=step.name, task_id=delivery, attempt=lease.attempt),
        ):
            self._point(
                "task.began",
                envelope=lease.envelope,
                id=delivery,
                task=step.name,
                event=step.event,
                attempt=lease.attempt,
            )
            if lease.losses >= step.policy.lost_tries:
                ending: Ending = LostTooOften()
            elif self._cutting_off:
                ending = CutOff(self._cut_tries(lease, step))
            else:
                ending = await self._call(lease, step, ctx)
            _log(step, ending, lease)
            error = type(ending.error).__qualname__ if isinstance(ending, Raised) else ""
            how = outcome(ending, step.policy)
            self._point("task.ended", outcome=how, error=error)
        return ending, how

    async def _call(self, lease: Lease, step: Step, ctx: Context) -> Ending:
        """Call the handler. What it raises is its own failure, never the worker's end."""
        me = asyncio.current_task()
        assert me is not None
        handling = self._handling[lease.envelope.id] = _Handling(
            me,
            ctx.cancellation,
            iscoroutinefunction(step.handler),
            self._outliving.drain(step.policy, lease.envelope.queue),
        )
        try:
            work = self._work(step.handler, ctx, handling)
            if step.policy.timeout is not None:
                value = await self._within(step.policy.timeout, work, step, handling)
            else:
                value = await work
            return Returned(step.on_return(value), step.result(value))
        except BaseException as error:  # noqa: BLE001 - SystemExit too; it is judged and logged
            return self._stopped(error, handling, lease, step) or Raised(error)
        finally:
            end_if_forked()
            del self._handling[lease.envelope.id]

    def _stopped(
        self, error: BaseException, handling: _Handling, lease: Lease, step: Step
    ) -> CutOff | CancelledDelivery | None:
        """Return why the handler was stopped, or None if it raised the error itself."""
        me = handling.task
        stopped = isinstance(error, asyncio.CancelledError) and me.cancelling() > 0
        while me.cancelling():
            me.uncancel()
        if stopped and (self._cutting_off or handling.cut):
            return CutOff(self._cut_tries(lease, step))
        # A handler may cancel itself: then it is not begun again.
        return CancelledDelivery() if stopped and handling.cancellation.requested else None

    def _cut_tries(self, lease: Lease, step: Step) -> int:
        return self._outliving.cut_tries(step.policy, lease.envelope.queue)

    async def _work(
        self, handler: Callable[[Context], Any], ctx: Context, handling: _Handling
    ) -> Any:
        if handling.is_async:
            return await completed(await handler(ctx))
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        value = await loop.run_in_executor(self._threads, context.run, _plain, handler, ctx)
        handling.is_async = True
        return await completed(value)

    async def _within(
        self, seconds: float, handler: Awaitable[Any], step: Step, handling: _Handling
    ) -> Any:
        """Return what the handler returns within so many seconds. Raises HandlerTimeout."""
        work = asyncio.ensure_future(_contained(handler))
        try:
            await asyncio.wait({work}, timeout=seconds)
            if not work.done():
                await self._give_up(work, step, handling)
                raise HandlerTimeout(step.name, seconds)
        except asyncio.CancelledError:
            work.cancel()
            raise
        value, error = work.result()
        if error is not None:
            raise error
        return value

    async def _give_up(self, work: asyncio.Future[Any], step: Step, handling: _Handling) -> None:
        """Stop a handler. If it does not stop, abandon it and ask for a replacement of this worker:
        a thread ends only with its process."""
        handling.cancellation.requested = True
        if handling.is_async:
            work.cancel()
        await asyncio.wait({work}, timeout=_STUBBORN)
        if not work.done():
            self.abandoned += 1
            self._workplace.retire("task_timeout", f"{step.name} did not stop after its timeout")

    # -- report ----------------------------------------------------------------------------------

    def _report(self, step: Step, ending: Ending, settlement: Settlement, seconds: float) -> None:
        queue = settlement.lease.envelope.queue
        how = settlement.outcome
        if step.event and how:
            fields = {"listener": step.name, "outcome": how, "seconds": seconds}
            self._point("event.delivered", event=step.event, **fields)
        elif how:
            self._point("task.finished", task=step.name, queue=queue, outcome=how, seconds=seconds)
        if isinstance(ending, CutOff):
            self._point("task.cut_off", task=step.name, queue=queue)
        for envelope in settlement.then:
            if STEP in envelope.headers:
                name = f"{envelope.name}.{envelope.headers[STEP]}"
                self._point("task.enqueued", task=name, queue=envelope.queue)


async def _contained(handler: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return what it returns or raises: a SystemExit would end the loop with the asyncio task."""
    try:
        return await handler, None
    except BaseException as error:  # noqa: BLE001 - it travels
        return None, error


def _report_refusal(settlement: Settlement) -> None:
    if settlement.verdict == "dead":
        name = settlement.lease.envelope.name
        log.error("%s was given up (%s): %s", name, settlement.reason, settlement.error)


def _plain(handler: Callable[[Context], Any], ctx: Context) -> Any:
    try:
        return handler(ctx)
    except (StopIteration, GeneratorExit) as error:
        # Thrown into a coroutine, by the future of this thread, they mean something else: PEP 479.
        raise RuntimeError(f"The handler raised {type(error).__name__}.") from error
    finally:
        end_if_forked()


def _log(step: Step, ending: Ending, lease: Lease) -> None:
    attempt = lease.attempt
    match ending:
        case Raised(InvalidResult() as error):
            log.error("%s was given up after it had run: %s", step.name, error)
        case Raised(error) if step.policy.is_dropped(error):
            why = error.reason if isinstance(error, Discard) else repr(error)
            log.info("%s was discarded: %s", step.name, why)
        case Raised(error) if step.policy.is_retried(error, attempt):
            if isinstance(error, Retry):
                log.info("%s asks to be tried again", step.name)
            else:
                log.warning("%s failed and will be tried again", step.name, exc_info=error)
        case Raised(error):
            log.error("%s failed for the last time", step.name, exc_info=error)
        case LostTooOften():
            deaths = step.policy.lost_tries
            log.error("%s was given up: %d workers died over it", step.name, deaths)
        case CutOff(tries) if lease.cuts + 1 < tries:
            log.warning("%s was cut off and will run again (%d)", step.name, lease.cuts + 1)
        case CutOff(tries):
            log.error("%s was given up: it was cut off %d times", step.name, lease.cuts + 1)
        case CancelledDelivery():
            log.info("%s was cancelled", step.name)
