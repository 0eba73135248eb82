"""Crons with `run_in="task"`: a moment becomes a delivery, and a task worker runs it.

The id and the key of the delivery come from the cron and the moment, so that the engine keeps it
once, however often a timer that was killed, and its successor, put it.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec.structs import replace

from skep.api.cron import CronJob
from skep.api.tasks.context import Context
from skep.engine import binding
from skep.engine.contract import Envelope
from skep.engine.headers import CRON, DIED
from skep.table import binding as tables
from skep.table.journal import DELIVERING, RUNNING, WAITING, CronRun
from skep.worker.cron.execution import CronExecution, execute
from skep.worker.cron.record import INTERRUPTED, Record

# How long after its end a moment is not run again (ms): longer than a timer takes to be replaced.
_REMEMBERED = 600_000


def envelope(name: str, run: CronRun, *, allow_overlap: bool) -> Envelope:
    """Return the delivery of a run."""
    moment = f"cron:{name}:{round(run.scheduled * 1000)}"
    return Envelope(
        id=hashlib.sha256(moment.encode()).hexdigest()[:32],
        name=name,
        body=msgspec.json.encode(run),
        headers={CRON: name},
        key=moment,
        unique_for=_REMEMBERED,
        concurrency_key="" if allow_overlap else f"cron:{name}",
        sender=binding.sender(),
    )


def handler(delivered: Envelope, job: CronJob) -> Callable[[Context], Awaitable[None]]:
    """Return what does the run of a delivery. Raises msgspec.MsgspecError if the payload is none.

    A run that another worker has begun is not repeated; that worker has died. One that was a dead
    letter is, because an operator wants it.
    """
    name = delivered.headers[CRON]
    run = msgspec.json.decode(delivered.body, type=CronRun)

    async def handle(ctx: Context) -> None:
        record, telemetry = Record(tables.current()), binding.current().telemetry
        now = time.time()
        begun = replace(run, outcome=RUNNING, begun=now)
        known = record.advance(name, begun, DELIVERING, WAITING)
        if known is not None and DIED not in delivered.headers:
            if known.outcome == RUNNING:
                record.end(name, known, telemetry, INTERRUPTED)
            return
        ended = await execute(
            CronExecution(name, job, begun), telemetry, max(0.0, now - run.scheduled)
        )
        record.write(name, ended)

    return handle
