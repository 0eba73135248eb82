"""An ASGI application of a plugin, with the lifespan it may have (ASGI, lifespan 2.0)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from skep.base.errors import PlatformError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Mounted:
    """Serves an application and merges the state of its lifespan into that of each request. `where`
    names it in a sentence: `mounted at /api`."""

    def __init__(self, where: str, app: "ASGIApp") -> None:
        self._where = where
        self._app = app
        self._state: dict[str, Any] = {}

    @property
    def routes(self) -> list[Any]:
        """The routes of the application, for `url_for`."""
        routes = getattr(self._app, "routes", [])
        # Another framework may call something else so.
        return list(routes) if isinstance(routes, list | tuple) else []

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if self._state:
            scope["state"] = {**scope.get("state", {}), **self._state}
        await self._app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the application's lifespan around the block.

        Raises PlatformError when the application reports that it cannot start. An application that
        raises an exception before it answers has no lifespan and is used without one.
        """
        life = _Lifespan(self._app, self._state)
        await life.startup(self._where)
        try:
            yield
        finally:
            await life.shutdown()


class _Lifespan:
    def __init__(self, app: "ASGIApp", state: dict[str, Any]) -> None:
        self._app = app
        self._scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._told: asyncio.Queue[Message] = asyncio.Queue()
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self, where: str) -> None:
        self._task = asyncio.ensure_future(self._run())
        answer = await self._ask("lifespan.startup")
        if answer["type"] == "lifespan.startup.failed":
            await asyncio.wait({self._task})
            reason = answer.get("message", "") or "it did not say why"
            raise PlatformError(f"The application {where} cannot start: {reason}")

    async def shutdown(self) -> None:
        assert self._task is not None
        if not self._task.done():
            await self._ask("lifespan.shutdown")
            await asyncio.wait({self._task}, timeout=1.0)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _ask(self, what: str) -> "Message":
        """Send a message; return the answer, or {"type": "none"} when the application ends."""
        assert self._task is not None
        self._told.put_nowait({"type": what})
        answer = asyncio.ensure_future(self._heard.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return {"type": "none"}

    async def _run(self) -> None:
        receive: Receive = self._told.get
        send: Send = self._heard.put
        with contextlib.suppress(Exception):  # the specification's way of saying: no lifespan here
            await self._app(self._scope, receive, send)
