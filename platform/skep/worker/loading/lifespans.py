"""The lifespans of plugins, and the state that they give to handlers."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.applications import Starlette

from skep.api.callables import binds, written_lifespan
from skep.api.plugin import Plugin
from skep.base.errors import PluginError


class Lifespans:
    """Enters the lifespans of all plugins once in a worker.

    `app` is what a lifespan in Starlette's shape is called with; its `state` is that of
    `request.app`. `state` is what lifespans have yielded: it is in the state of every request.
    """

    def __init__(self) -> None:
        self.app = Starlette()
        self.state: dict[str, Any] = {}
        self._owners: dict[str, str] = {}

    async def enter(self, plugins: Mapping[str, Plugin], around: AsyncExitStack) -> None:
        """Enter them in the order of the plugins; `around` leaves them.

        Raises PluginError if a call gives no async context manager, or if two plugins yield the
        same key, and whatever a lifespan raises.
        """
        for name, plugin in plugins.items():
            if plugin.lifespan is not None:
                await self._enter(name, plugin.lifespan, around)

    async def _enter(self, plugin: str, lifespan: Any, around: AsyncExitStack) -> None:
        made = lifespan() if binds(written_lifespan(lifespan)) else lifespan(self.app)
        if not hasattr(type(made), "__aenter__"):
            kind = type(made)
            raise PluginError(
                plugin,
                f"The lifespan of plugin {plugin} returned an object of the class "
                f"{kind.__module__}.{kind.__qualname__}, which is not an async context manager: "
                "decorate it with @asynccontextmanager.",
            )
        yielded = await around.enter_async_context(made)
        if isinstance(yielded, Mapping):
            self._keep(plugin, yielded)

    def _keep(self, plugin: str, yielded: Mapping[str, Any]) -> None:
        for key in yielded:
            if (owner := self._owners.setdefault(key, plugin)) != plugin:
                raise PluginError(
                    plugin,
                    f"The lifespan of plugin {plugin} yields {key!r} for the state of requests, "
                    f"as that of plugin {owner} does: rename one of them.",
                )
        self.state.update(yielded)
