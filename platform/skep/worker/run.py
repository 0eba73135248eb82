"""One lease, from its hand-out to its settlement: decode, handle, judge, settle, tell."""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from skep.api.context import Context
from skep.api.policy import Discard, Retry
from skep.base.log import bound
from skep.config.epoch import pin
from skep.engine.base import Lease, Settlement
from skep.engine.headers import STEP
from skep.engine.ids import now_ms
from skep.worker.judge import (
    LOST_TRIES,
    CutOff,
    Ending,
    Lost,
    Raised,
    Returned,
    judge,
    judge_undecodable,
    judge_unknown,
    outcome,
)
from skep.worker.kind import Workplace
from skep.worker.settle import Settler
from skep.worker.steps import Step, Undecodable, Unknown, decode, origin

log = logging.getLogger(__name__)

# What a listener's outcome is called; one that was cut off was not delivered.
_EVENT_OUTCOMES = {"success": "success", "failure": "failure", "rejected": "skipped"}


class Runner:
    """Runs leases; `threads` are for handlers that are plain functions."""

    def __init__(self, workplace: Workplace, threads: Executor, settler: Settler) -> None:
        self._workplace = workplace
        self._threads = threads
        self._settler = settler
        self._tell = workplace.telemetry.point
        self._handling: set[asyncio.Task[Any]] = set()
        self._cutting_off = False

    async def run(self, lease: Lease) -> None:
        """Decode, handle, judge; the settler does the rest."""
        pin()
        try:
            step = decode(lease, self._workplace.catalog)
        except Unknown as error:
            self._refuse(judge_unknown(lease, str(error), now_ms()))
        except Undecodable as error:
            self._refuse(judge_undecodable(lease, str(error)))
        else:
            started = time.perf_counter()
            with self._counted(lease):
                ending = await self._handle(lease, step)
            seconds = time.perf_counter() - started
            settlement = judge(lease, step, ending, now_ms())
            told = partial(self._report, step, ending, settlement, seconds)
            self._settler.settle(settlement, told)

    def cut_off(self) -> None:
        """Stop every handler where it waits; what it was working on goes to another worker."""
        self._cutting_off = True
        for task in self._handling:
            task.cancel()

    def _refuse(self, settlement: Settlement) -> None:
        """Settle what could not be handled."""
        self._settler.settle(settlement, partial(self._report_refusal, settlement))

    @contextmanager
    def _counted(self, lease: Lease) -> Iterator[None]:
        queue = lease.envelope.queue
        waited = now_ms() - max(lease.put_at, lease.envelope.due)
        self._tell("task.waited", queue=queue, seconds=max(waited, 0) / 1000)
        self._tell("task.running", queue=queue, by=1)
        self._workplace.served()
        try:
            yield
        finally:
            self._tell("task.running", queue=queue, by=-1)

    # -- handle ----------------------------------------------------------------------------------

    async def _handle(self, lease: Lease, step: Step) -> Ending:
        delivery = origin(lease.envelope)
        ctx = Context(
            id=delivery,
            attempt=lease.attempt,
            tries=step.tries,
            log=logging.getLogger(step.name),
            slot=self._workplace.slot,
            generation=self._workplace.generation,
        )
        with bound(task=step.name, task_id=delivery, attempt=lease.attempt):
            if lease.losses >= LOST_TRIES:
                ending: Ending = Lost()
            elif self._cutting_off:
                ending = CutOff()
            else:
                ending = await self._call(step, ctx)
            _log(step, ending, lease.attempt)
        return ending

    async def _call(self, step: Step, ctx: Context) -> Ending:
        """Call the handler. Whatever it raises is its own failure, never the worker's end."""
        me = asyncio.current_task()
        assert me is not None
        self._handling.add(me)
        try:
            if iscoroutinefunction(step.handler):
                value = await step.handler(ctx)
            else:
                value = await self._in_thread(step.handler, ctx)
            return Returned(step.on_return(value))
        except GeneratorExit:  # the interpreter is going down
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit too; it is judged and logged
            if self._cutting_off and isinstance(error, asyncio.CancelledError):
                me.uncancel()
                return CutOff()
            return Raised(error)
        finally:
            self._handling.discard(me)

    async def _in_thread(self, handler: Callable[[Context], Any], ctx: Context) -> Any:
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._threads, context.run, _plain, handler, ctx)

    # -- tell ------------------------------------------------------------------------------------

    def _report(self, step: Step, ending: Ending, settlement: Settlement, seconds: float) -> None:
        """Tell what was done, now that it counts."""
        queue = settlement.lease.envelope.queue
        if step.event:
            self._report_event(step, ending, settlement, seconds)
        elif not isinstance(ending, Lost):
            self._tell(
                "task.finished",
                task=step.name,
                queue=queue,
                outcome=outcome(ending),
                seconds=seconds,
            )
        if settlement.verdict == "retry":
            self._tell("task.retried", task=step.name, queue=queue)
        if settlement.verdict == "dead":
            self._tell("task.dead", task=step.name, queue=queue, reason=settlement.reason)
        for envelope in settlement.then:
            if STEP in envelope.headers:
                name = f"{envelope.name}.{envelope.headers[STEP]}"
                self._tell("task.enqueued", task=name, queue=envelope.queue)

    def _report_refusal(self, settlement: Settlement) -> None:
        if settlement.verdict == "dead":
            name, queue = settlement.lease.envelope.name, settlement.lease.envelope.queue
            log.error("%s was given up (%s): %s", name, settlement.reason, settlement.error)
            self._tell("task.dead", task=name, queue=queue, reason=settlement.reason)

    def _report_event(
        self, step: Step, ending: Ending, settlement: Settlement, seconds: float
    ) -> None:
        called = _EVENT_OUTCOMES.get(outcome(ending))
        if called is not None:
            self._tell_delivered(step.event, step.name, called, seconds)
        if isinstance(ending, Returned) and not settlement.then:
            for name in step.following:  # it has returned False
                self._tell_delivered(step.event, name, "skipped", 0.0)

    def _tell_delivered(self, event: str, listener: str, called: str, seconds: float) -> None:
        self._tell(
            "event.delivered", event=event, listener=listener, outcome=called, seconds=seconds
        )


def _plain(handler: Callable[[Context], Any], ctx: Context) -> Any:
    """Call a handler in its thread."""
    try:
        return handler(ctx)
    except StopIteration as error:  # a future would choke on it; see PEP 479
        raise RuntimeError("The handler raised StopIteration.") from error


def _log(step: Step, ending: Ending, attempt: int) -> None:
    """Say what the author should know; a success is not news."""
    match ending:
        case Raised(Discard(reason=reason)):
            log.info("%s was discarded: %s", step.name, reason)
        case Raised(Retry()) if attempt < step.tries:
            log.info("%s asks to be tried again", step.name)
        case Raised(error) if attempt < step.tries:
            log.warning("%s failed and will be tried again", step.name, exc_info=error)
        case Raised(error):
            log.error("%s failed for the last time", step.name, exc_info=error)
        case Lost():
            log.error("%s was given up: %d workers died over it", step.name, LOST_TRIES)
        case CutOff():
            log.warning("%s was cut off and will run again", step.name)
