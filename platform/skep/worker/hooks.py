"""Calls the hooks of the plugins: in a worker, or in a process that is there for one call."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from skep.api.hooks import info_of
from skep.api.plugin import Plugin
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options import Options
from skep.engine import binding
from skep.engine.embedded import Embedded
from skep.engine.senders import sender_of
from skep.wire.messages import Boot, Hello, encode
from skep.worker.calling import completed
from skep.worker.catalog import Catalog

log = logging.getLogger(__name__)

# How long a hook may take (seconds), and how much longer until its process is ended by force.
_PATIENCE, _SLACK = 10.0, 2


async def call(plugins: Mapping[str, Plugin], hook: str, **facts: Any) -> None:
    """Call the hook of every plugin that has it, in their order."""
    for name, plugin in plugins.items():
        function = getattr(plugin.hooks, hook)
        if function is None:
            continue
        try:
            async with asyncio.timeout(_PATIENCE):
                await completed(function(info_of(hook, facts)))
        except Exception:
            log.exception("the hook %s of plugin %s failed", hook, name)


def be_one(boot: Boot, catalog: Catalog, code: str, sock: socket.socket) -> int:
    """Be the process of one call; tasks can be delivered from it."""
    signal.alarm(int(_PATIENCE) * max(1, len(catalog.plugins)) + _SLACK)
    sock.setblocking(True)
    sock.sendall(encode(Hello(os.getpid())))
    asyncio.run(_call_with_engine(boot, catalog, code))
    return 0


async def _call_with_engine(boot: Boot, catalog: Catalog, code: str) -> None:
    options = Options.from_json(boot.options)
    engine = Embedded(RunDir(options.data_dir).store_socket, f"{boot.run_id}/hook/{os.getpid()}")
    await engine.open()
    names, declared = catalog.listener_names(), catalog.declared()
    sender = sender_of(boot.run_id, boot.generation, code)
    binding.bind(engine, Telemetry(), names, declared=declared, sender=sender)
    try:
        await call(
            catalog.plugins,
            "after_fork",
            slot=boot.slot,
            generation=boot.generation,
            pid=os.getpid(),
        )
        await call(catalog.plugins, boot.facts["hook"], **boot.facts["info"])
    finally:
        await engine.close()
