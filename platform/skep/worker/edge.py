"""The outermost ASGI application of a web worker: what has to be said about every request.

It measures, and while the worker drains it makes every connection the last: each response carries
`Connection: close`, each WebSocket gets close code 1012.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from skep.config.epoch import pin
from skep.metrics.web import UNMATCHED

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skep.metrics.web import HttpMetrics

# RFC 6455 registry: the service is restarting, the client may connect again.
SERVICE_RESTART = 1012


class Edge:
    """Wraps the application of all plugins."""

    def __init__(self, app: "ASGIApp", metrics: "HttpMetrics", served: Callable[[], None]) -> None:
        self._app = app
        self._metrics = metrics
        self._served = served
        self._closing: set[asyncio.Event] = set()
        self.draining = False

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request or one WebSocket connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def close_websockets(self, spread: float) -> None:
        """Close all WebSockets within `spread` seconds, so that not all come back at once."""
        loop = asyncio.get_running_loop()
        for closing in self._closing:
            loop.call_later(random.uniform(0, spread), closing.set)

    async def _http(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        metrics, start, status = self._metrics, time.perf_counter(), 500

        async def answer(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.draining:
                    message = _last(message)
            await send(message)

        metrics.begin()
        pin()
        try:
            await self._app(scope, receive, answer)
        except Exception:
            metrics.exception(_route(scope))
            raise
        finally:
            metrics.end(scope["method"], _route(scope), status, time.perf_counter() - start)
            self._served()

    async def _websocket(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        closing = asyncio.Event()
        self._closing.add(closing)

        async def hear() -> "Message":
            message = asyncio.ensure_future(receive())
            restart = asyncio.ensure_future(closing.wait())
            await asyncio.wait({message, restart}, return_when=asyncio.FIRST_COMPLETED)
            restart.cancel()
            if message.done():
                return message.result()
            message.cancel()
            with contextlib.suppress(RuntimeError, OSError):  # the client was quicker
                await send(
                    {"type": "websocket.close", "code": SERVICE_RESTART, "reason": "restart"}
                )
            return {"type": "websocket.disconnect", "code": SERVICE_RESTART}

        try:
            await self._app(scope, hear, send)
        finally:
            self._closing.discard(closing)


def _route(scope: "Scope") -> str:
    """The template of the matched route, never the path: its values would be without number."""
    route = scope.get("route")
    if route is None:
        return UNMATCHED
    prefix: str = scope.get("root_path", "")
    return prefix + str(getattr(route, "path", ""))


def _last(message: "Message") -> "Message":
    headers = [h for h in message.get("headers", ()) if h[0].lower() != b"connection"]
    return {**message, "headers": [*headers, (b"connection", b"close")]}
