"""Ask the plugins once a second whether they are ready."""

import asyncio
import logging
from collections.abc import Mapping

from skep.api.plugin import Plugin
from skep.worker.calling import completed

log = logging.getLogger(__name__)

_EVERY = 1.0
_PATIENCE = 1.0


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
                async with asyncio.timeout(_PATIENCE):
                    reason = await completed(ready())
            except TimeoutError:
                return f"plugin {name} did not say within {_PATIENCE:g} s whether it is ready"
            except Exception as error:
                log.exception("the ready hook of plugin %s failed", name)
                return f"plugin {name} raised {type(error).__name__}"
            if reason:
                return f"plugin {name}: {reason}"
        return ""
