"""From a fresh interpreter, or a fork of the zygote, to a living worker."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from prometheus_client import REGISTRY, CollectorRegistry

from skep.api.worker import Worker
from skep.base.logs import log, logfile, masking
from skep.base.rundir import RunDir
from skep.base.system.title import set_title
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.engine.senders import sender_of
from skep.metrics.frames import Framer, adopt_process
from skep.metrics.instruments import Instruments
from skep.metrics.subscriber import subscribe
from skep.wire.channel import BlockingChannel
from skep.wire.lifecycle import EXIT_NOT_PREPARED, Lifecycle
from skep.wire.message_buffer import MessageBuffer
from skep.wire.messages import Boot, Failed, Hello
from skep.worker import fork_guard
from skep.worker.birth import random_numbers
from skep.worker.birth.nursery import leave
from skep.worker.birth.zygote import Generation, Zygote, load, name_zygote
from skep.worker.hooks import be_one, call
from skep.worker.kind import Kind, Workplace
from skep.worker.kinds.cron import CronKind
from skep.worker.kinds.tasks import TaskKind
from skep.worker.kinds.web import WebKind
from skep.worker.loading.changes import Changing
from skep.worker.loading.environ import install
from skep.worker.platform_events import Teller
from skep.worker.tasks.deliver import Deliverer
from skep.worker.upkeep import memory
from skep.worker.upkeep.readiness import Readiness
from skep.worker.upkeep.retirement import Wear, resident_memory

KINDS: Mapping[str, type[Kind]] = {"web": WebKind, "task": TaskKind, "cron": CronKind}


def begin(channel: BlockingChannel) -> int:
    """Read from the channel who this process is, and be that; return its exit code."""
    boot = _introduction(channel)
    if boot.kind == "nursery":
        channel = leave(channel, boot)
        boot = _introduction(channel)
    found = load(boot)
    if boot.kind != "zygote":
        return _live_alone(boot, found, channel)
    Zygote.answer(channel, found)
    assert isinstance(found, Generation)
    name_zygote(boot, understudy=False)
    while boot.kind == "zygote":
        channel = BlockingChannel(Zygote(channel, found).run().channel)
        boot = _introduction(channel)
        if boot.kind == "zygote":
            channel.send(Hello(os.getpid()))
            name_zygote(boot, understudy=True)
    return live(boot, found, *channel.detach())


def live(boot: Boot, found: Generation, sock: socket.socket, framing: MessageBuffer) -> int:
    """Be the worker that `boot` says; return its exit code."""
    with contextlib.suppress(PermissionError):  # a spawned one leads its session already
        os.setsid()
    random_numbers.reseed()
    set_title(f"{boot.slot}@{boot.generation}", boot.options["app_id"])
    if boot.kind == "hook":
        return be_one(boot, found.catalog, found.plan.code, sock)
    Worker.become(boot.slot, boot.generation)
    factory = uvloop.new_event_loop if boot.options["loop"] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_live(boot, found, sock, framing))


def _introduction(channel: BlockingChannel) -> Boot:
    """Read the first message and set the process up for what does not wait for the rest."""
    try:
        boot, _ = channel.receive()
    except EOFError:
        os._exit(0)
    assert isinstance(boot, Boot)
    logfile.follow(boot.options["log_file"])
    log.configure(
        boot.slot,
        boot.generation,
        level=boot.options["log_level"],
        style=boot.options["log_format"],
        prints=True,
    )
    masking.declare(boot.options["secret_names"])
    log.hide(install().snapshot())
    return boot


def _live_alone(boot: Boot, found: Any, channel: BlockingChannel) -> int:
    """Be a worker that has loaded for itself."""
    if isinstance(found, Generation):
        return live(boot, found, *channel.detach())
    channel.send(Failed(found[0]))
    return EXIT_NOT_PREPARED


async def _live(boot: Boot, found: Generation, sock: socket.socket, framing: MessageBuffer) -> int:
    options = Options.from_json(boot.options)
    fork_guard.guard(asyncio.get_running_loop())
    adopt_process()
    registry = CollectorRegistry()
    telemetry, instruments = Telemetry(), Instruments(registry, boot.kind)
    subscribe(telemetry, instruments)
    owner = f"{boot.run_id}/{boot.slot}@{boot.generation}/{os.getpid()}"
    wear = Wear(options, time.monotonic())
    workplace = Workplace(
        slot=boot.slot,
        generation=boot.generation,
        catalog=found.catalog,
        engine=Embedded(RunDir(options.data_dir).store_socket, owner),
        telemetry=telemetry,
        instruments=instruments,
        options=options,
        tls=found.tls,
        served=wear.served,
        sender=sender_of(boot.run_id, boot.generation, found.plan.code),
        loaded_by=sender_of(boot.run_id, found.loaded_by, found.plan.code),
    )
    readiness = Readiness(found.catalog.plugins if boot.kind == "web" else {})
    life = _WithPlugins(KINDS[boot.kind](workplace), workplace, readiness)
    framer = Framer(
        registry, REGISTRY, on_error=instruments.child("metrics_collect_errors_total").inc
    )

    def on_beat(lag: float) -> None:
        telemetry.point("worker.loop_lag", seconds=lag)
        wear.look(time.monotonic(), resident_memory())

    lifecycle = Lifecycle(
        life,
        framer.next,
        change=Changing(found.changes),
        on_beat=on_beat,
        unready=lambda: readiness.unready,
        trouble=lambda: workplace.trouble(),
        on_alone=lambda: workplace.when_alone(),
        happened=Teller(boot.run_id).tell,
        trace=memory.trace,
        deliver=Deliverer(found.catalog).deliver,
    )
    wear.retire = workplace.retire = lifecycle.retire
    return await lifecycle.run(sock, framing, options.drain_timeout)


class _WithPlugins:
    """A kind of worker with its engine open and the plugins' lifespans entered around it."""

    def __init__(self, kind: Kind, workplace: Workplace, readiness: Readiness) -> None:
        self._kind = kind
        self._readiness = readiness
        self._workplace = workplace
        self._around = AsyncExitStack()
        self.accept = kind.accept
        self.drain = kind.drain

    async def prepare(self) -> None:
        """Open the engine, enter the lifespans in the order of the plugins, prepare the kind."""
        work = self._workplace
        await self._tell("after_fork")
        await work.engine.open()
        binding.bind(
            work.engine,
            work.telemetry,
            work.catalog.listener_names(),
            declared=work.catalog.declared(),
            sender=work.sender,
        )
        self._around.push_async_callback(self._workplace.engine.close)
        await work.lifespans.enter(work.catalog.plugins, self._around)
        await self._kind.prepare()
        await self._tell("worker_start")
        self._asking = asyncio.create_task(self._readiness.run())

    def retire(self) -> Mapping[str, Any]:
        """Let everybody know who wants to, and the kind before all."""
        state = self._kind.retire()
        Worker.current().begin_drain()
        return state

    async def stop(self) -> None:
        """The same backwards."""
        self._asking.cancel()
        await self._tell("worker_stop")
        await self._kind.stop()
        await self._around.aclose()

    async def _tell(self, hook: str) -> None:
        work = self._workplace
        info = {"slot": work.slot, "generation": work.generation, "pid": os.getpid()}
        await call(work.catalog.plugins, hook, **info)
