"""How a fresh interpreter or a fork becomes what its first message says."""

import asyncio
import contextlib
import os
import random
import socket
import sys

import uvloop

from skep.api.worker import Worker
from skep.base.logs import log, logfile, masking
from skep.base.logs.kept import KeptLog
from skep.base.rundir import RunDir
from skep.base.system.title import set_title
from skep.metrics.page_values import keep_in_page
from skep.wire.channel import BlockingChannel, MessageBuffer
from skep.wire.lifecycle import EXIT_NOT_PREPARED
from skep.wire.messages import Boot, Failed, Hello, LoadFailed, Planned
from skep.worker import fork_guard, lifetime
from skep.worker.birth.loaded import LoadedGeneration, load
from skep.worker.birth.nursery import leave
from skep.worker.birth.zygote import ZygoteForker
from skep.worker.hooks import run_once
from skep.worker.loading.environ import install


def begin(channel: BlockingChannel) -> int:
    """Read from the channel what this process is, and be that; return its exit code."""
    keep_in_page()
    boot = _introduction(channel)
    if boot.kind == "nursery":
        channel = leave(channel, boot)
        boot = _introduction(channel)
    found = load(boot)
    if not isinstance(found, LoadedGeneration):
        if boot.kind == "zygote":
            channel.send(LoadFailed(found, masking.declared()))
            sys.exit(0)
        channel.send(Failed(found[0]))
        return EXIT_NOT_PREPARED
    if boot.kind != "zygote":
        return live(boot, found, *channel.detach())
    channel.send(Planned(found.plan))
    _set_zygote_title(boot)
    while boot.kind == "zygote":
        channel = BlockingChannel(ZygoteForker(channel, found).run())
        boot = _introduction(channel)
        if boot.kind == "zygote":
            channel.send(Hello(os.getpid()))
            _set_zygote_title(boot, " (understudy)")
    return live(boot, found, *channel.detach())


def live(boot: Boot, found: LoadedGeneration, sock: socket.socket, framing: MessageBuffer) -> int:
    """Be the worker that `boot` describes; return its exit code."""
    with contextlib.suppress(PermissionError):  # a spawned one leads its session already
        os.setsid()
    reseed()
    set_title(f"{boot.slot}@{boot.generation}", boot.options["app_id"])
    if boot.kind == "hook":
        return run_once(boot, found.catalog, found.plan.code, sock)
    if boot.kind == "process":
        logs = RunDir(boot.options["data_dir"]).logs_dir
        KeptLog(logs, boot.slot).keep(boot.generation)
    Worker.become(boot.slot, boot.generation)
    factory = uvloop.new_event_loop if boot.options["loop"] == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        fork_guard.guard(runner.get_loop())
        return runner.run(lifetime.live(boot, found, sock, framing))


def _introduction(channel: BlockingChannel) -> Boot:
    """Read the first message and set up logging and masking."""
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


def _set_zygote_title(boot: Boot, role: str = "") -> None:
    set_title(f"zygote@{boot.generation}", boot.options["app_id"] + role)


def reseed() -> None:
    """Seed the generators whose state all forks share: that of `random`, and NumPy's global one if
    it has been imported. A plugin seeds its own generators in the hook `after_fork`."""
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
