"""The life of one worker: its kind, within the engine and the plugins' lifespans and hooks."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from skep.api.worker import Worker
from skep.engine.senders import sender_of
from skep.metrics.frames import Framer, adopt_process
from skep.metrics.instruments import Instruments
from skep.metrics.subscriber import subscribe
from skep.wire.channel import MessageBuffer
from skep.wire.lifecycle import Lifecycle, Role
from skep.wire.messages import Boot
from skep.worker.birth.loaded import LoadedGeneration
from skep.worker.expected_series import expect
from skep.worker.hooks import Readiness, call
from skep.worker.kinds.cron import CronKind
from skep.worker.kinds.process import ProcessKind
from skep.worker.kinds.tasks import TaskKind
from skep.worker.kinds.web import WebKind
from skep.worker.tasks.deliver import deliver, send_event
from skep.worker.tracing import spans
from skep.worker.upkeep import Retirement, held_memory, trace
from skep.worker.workplace import Workplace

# An exception in `prepare` refuses the whole generation.
KINDS: Mapping[str, type[WebKind | TaskKind | CronKind | ProcessKind]]
KINDS = {"web": WebKind, "task": TaskKind, "cron": CronKind, "process": ProcessKind}


async def live(
    boot: Boot, found: LoadedGeneration, sock: socket.socket, framing: MessageBuffer
) -> int:
    """Be the worker that `boot` describes; return its exit code."""
    counters = adopt_process()
    registry = CollectorRegistry()
    instruments = Instruments(registry, boot.kind)
    instruments.watch_garbage()
    code = found.plan.code
    name = f"{boot.slot}@{boot.generation}/{os.getpid()}"
    workplace = Workplace.of(boot, found.catalog, code, name)
    subscribe(workplace.telemetry, instruments)
    expect(instruments, found.catalog)
    retirement = Retirement(workplace.options, time.monotonic())
    workplace.instruments = instruments
    instance = f"{socket.gethostname()}/{boot.run_id}/{name}"
    workplace.spans = spans(workplace.options, instance, boot.slot, workplace.telemetry)
    workplace.tls = found.tls
    workplace.served = retirement.served
    workplace.loaded_by = sender_of(boot.run_id, found.loaded_by, code)
    readiness = Readiness(found.catalog.plugins if boot.kind == "web" else {})
    life = _KindWithPlugins(KINDS[boot.kind](workplace), workplace, readiness)
    framer = Framer(
        registry, REGISTRY, on_error=instruments.child("metrics_collect_errors_total").inc
    )

    def on_beat() -> None:
        retirement.look(time.monotonic(), held_memory())

    lifecycle = Lifecycle(
        framer.next,
        change=found.changes.answer,
        on_beat=on_beat,
        unready=lambda: readiness.unready,
        trouble=lambda: workplace.trouble(),
        on_alone=lambda: workplace.when_alone(),
        happened=partial(send_event, boot.run_id),
        trace=trace,
        deliver=partial(deliver, found.catalog),
        order=lambda order: workplace.cron_order(order),
        counters=counters,
    )
    retirement.retire = workplace.retire = lifecycle.retire
    workplace.replaced = lambda: lifecycle.replaced
    return await lifecycle.run(life, sock, framing, workplace.options.drain_timeout)


class _KindWithPlugins:
    """A kind of worker with the engine and the plugins' lifespans and hooks around it."""

    def __init__(self, kind: Role, workplace: Workplace, readiness: Readiness) -> None:
        self._kind = kind
        self._readiness = readiness
        self._workplace = workplace
        self._around = AsyncExitStack()
        self.accept = kind.accept
        self.drain = kind.drain

    async def prepare(self) -> None:
        work = self._workplace
        self._around.callback(work.open_tables())
        work.open_messaging()
        await self._call("after_fork")
        await work.open_engine()
        self._around.push_async_callback(work.engine.close)
        await work.lifespans.enter(work.catalog.plugins, self._around)
        await self._kind.prepare()
        await self._call("worker_start")
        self._asking = asyncio.create_task(self._readiness.run())

    def retire(self) -> Mapping[str, Any]:
        state = self._kind.retire()
        Worker.current().begin_drain()  # for code of plugins that waits for it
        return state

    async def stop(self) -> None:
        self._asking.cancel()
        await self._call("worker_stop")
        await self._kind.stop()
        await self._around.aclose()
        if self._workplace.spans is not None:
            await self._workplace.spans.close()

    async def _call(self, hook: str) -> None:
        await call(self._workplace.catalog.plugins, hook, **self._workplace.identity)
