"""One run of a cron: its handler is called, in the event loop or in a thread, and judged."""

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from skep.api.cron import CronJob, Tick
from skep.base.logs.log import bound, excerpt
from skep.base.telemetry import Telemetry
from skep.config.env.settings import pin
from skep.table.journal import CronRun
from skep.worker.calling import completed

log = logging.getLogger(__name__)

_LONGEST_ERROR = 200


@dataclass(frozen=True)
class CronExecution:
    """The run of a cron in this process."""

    name: str
    job: CronJob
    run: CronRun


# What runs in this process, by the task that does it.
executions: dict["asyncio.Task[Any]", CronExecution] = {}


async def execute(execution: CronExecution, telemetry: Telemetry, lag: float) -> CronRun:
    """Call the handler; return the run as it has ended. Whatever the handler raises is logged.

    A cancelled run ends as `cancelled`. `lag` is how late it is, in seconds.
    """
    name, run = execution.name, execution.run
    pin()
    zone = getattr(execution.job.terms.trigger, "zone", UTC)
    tick = Tick(datetime.fromtimestamp(run.scheduled, zone), run.n, run.missed)
    telemetry.point("cron.started", cron=name, lag=lag)
    began = time.perf_counter()
    task = asyncio.current_task()
    assert task is not None
    executions[task] = execution
    try:
        with (
            bound(cron=name, n=run.n),
            telemetry.span("cron.finished", cron=name) as fields,
        ):
            fields["outcome"], error = await _Call(name, execution.job, tick).outcome()
    finally:
        del executions[task]
    seconds = time.perf_counter() - began
    return replace(run, outcome=fields["outcome"], seconds=seconds, error=error)


@dataclass(frozen=True)
class _Call:
    name: str
    job: CronJob
    tick: Tick

    async def outcome(self) -> tuple[str, str]:
        """Return how it ended, and with which error."""
        handler, tick = self.job.handler, self.tick
        try:
            if inspect.iscoroutinefunction(handler):
                return await self._in_loop(lambda: completed(handler(tick))), ""
            return await self._in_thread(), ""
        except BaseException as error:
            # The handler may raise it too, but only a cancelled task is `cancelling`.
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                log.warning("The cron %s was cut off.", self.name)
                return "cancelled", ""
            log.exception("The cron %s failed.", self.name)
            return "failure", _one_line(error)

    async def _in_loop(self, work: Callable[[], Awaitable[Any]]) -> str:
        limit = self.job.terms.timeout
        try:
            async with asyncio.timeout(limit) as scope:
                await work()
        except TimeoutError:
            if not scope.expired():
                raise
            log.warning("The cron %s was cancelled after %s s.", self.name, limit)
            return "timeout"
        return "success"

    async def _in_thread(self) -> str:
        limit = self.job.terms.timeout
        call = _call_in_thread(self.job.handler, self.tick)
        done, _ = await asyncio.wait({call}, timeout=limit)
        if not done:
            log.warning("The cron %s runs for more than %s s.", self.name, limit)
            await asyncio.wait({call})
        value, error = call.result()
        if error is not None:
            raise error
        if value is not None:
            return await self._in_loop(lambda: completed(value))
        return "success" if done else "timeout"


def _one_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".strip()
    return excerpt(text, 10 * _LONGEST_ERROR).partition("\n")[0][:_LONGEST_ERROR]


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
