"""Call the hooks of the plugins: in a worker, or in a process made for one call; and ask the
plugins whether they are ready."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from typing import Any

from skep.api.hooks import info_of
from skep.api.plugin import Plugin
from skep.base.errors import NotPrepared
from skep.wire.messages import Boot, Hello, encode
from skep.worker.calling import completed
from skep.worker.loading.catalog import Catalog
from skep.worker.workplace import Workplace

log = logging.getLogger(__name__)

# How long a hook may take (seconds), and how much longer until its process is ended by force.
_PATIENCE, _SLACK = 10.0, 2
# How often the plugins are asked whether they are ready, and how long that may take (seconds).
_EVERY, _READY_PATIENCE = 1.0, 1.0


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


def run_once(boot: Boot, catalog: Catalog, code: str, sock: socket.socket) -> int:
    """Be the process of one call; plugins can deliver tasks from it."""
    signal.alarm(int(_PATIENCE) * max(1, len(catalog.plugins)) + _SLACK)
    sock.setblocking(True)
    sock.sendall(encode(Hello(os.getpid())))
    asyncio.run(_call_with_engine(boot, catalog, code))
    return 0


async def _call_with_engine(boot: Boot, catalog: Catalog, code: str) -> None:
    work = Workplace.of(boot, catalog, code, f"hook/{os.getpid()}")
    # Unlike a worker's, its hook `after_fork` finds the engine open.
    try:
        close_tables = work.open_tables()
    except NotPrepared as error:
        log.error("the hook %s was not called: %s", boot.facts["hook"], error)
        return
    await work.open_engine()
    work.open_messaging()
    try:
        await call(catalog.plugins, "after_fork", **work.identity)
        await call(catalog.plugins, boot.facts["hook"], **boot.facts["info"])
    finally:
        await work.engine.close()
        close_tables()


class Readiness:
    """Calls the `ready` hooks of the plugins; `unready` is the first reason, or empty."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        self._hooks = {name: plugin.ready for name, plugin in plugins.items() if plugin.ready}
        self.unready = ""

    async def run(self) -> None:
        """Ask for ever, if there are hooks."""
        while self._hooks:
            self.unready = await self._ask()
            await asyncio.sleep(_EVERY)

    async def _ask(self) -> str:
        for name, ready in self._hooks.items():
            try:
                async with asyncio.timeout(_READY_PATIENCE):
                    reason = await completed(ready())
            except TimeoutError:
                return f"plugin {name} did not say within {_READY_PATIENCE:g} s whether it is ready"
            except Exception as error:
                log.exception("the ready hook of plugin %s failed", name)
                return f"plugin {name} raised {type(error).__name__}"
            if reason:
                return f"plugin {name}: {reason}"
        return ""
