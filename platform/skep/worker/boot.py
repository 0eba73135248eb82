"""From a fresh fork to a living worker."""

import asyncio
import contextlib
import os
import random
import signal
import socket

from skep.base import log
from skep.base.masking import Masker
from skep.base.title import set_title
from skep.config.options import Options
from skep.wire.framing import Framing
from skep.wire.messages import Boot
from skep.worker.catalog import Catalog

# A worker started by the supervisor leads its own session; its children are in its process group.


def live(boot: Boot, catalog: Catalog, sock: socket.socket, framing: Framing) -> int:
    """Be the worker that `boot` says; return its exit code."""
    with contextlib.suppress(PermissionError):  # a spawned one leads its session already
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    random.seed()
    options = Options.from_json(boot.options)
    set_title(f"{boot.slot}@{boot.generation}")
    log.configure(
        boot.slot,
        boot.generation,
        level=options.log_level,
        style=options.log_format,
        masker=Masker.of_environment(os.environ),
    )
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(_live(boot, options, catalog, sock, framing))


async def _live(
    boot: Boot, options: Options, catalog: Catalog, sock: socket.socket, framing: Framing
) -> int:
    raise NotImplementedError


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
