"""One run of a cron: its handler is called, in the event loop or in a thread, and judged."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec.structs import replace

from skep.api.cron import CronJob, Tick
from skep.base.logs.log import bound, excerpt
from skep.base.telemetry import Telemetry
from skep.config.env.settings import pin
from skep.table.journal import CronRun
from skep.worker.calling import call_in_own_thread, completed

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
        work = partial(self.job.handler, self.tick)
        call = call_in_own_thread(work, f"cron-{self.tick.n}")
        done, _ = await asyncio.wait({call}, timeout=limit)
        if not done:
            log.warning("The cron %s runs for more than %s s.", self.name, limit)
        value, error = await call
        if error is not None:
            raise error
        if value is not None:
            return await self._in_loop(lambda: completed(value))
        return "success" if done else "timeout"


def _one_line(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".strip()
    return excerpt(text, 10 * _LONGEST_ERROR).partition("\n")[0][:_LONGEST_ERROR]
