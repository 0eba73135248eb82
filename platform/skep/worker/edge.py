"""The outermost ASGI application of a web worker: what has to be said about every request.

It measures, and while the worker drains it makes every request the last of its connection: each
response carries `Connection: close`.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from skep.base.correlation import correlated, new_request
from skep.config.epoch import pin
from skep.metrics.web import UNMATCHED

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from skep.metrics.web import HttpMetrics


class Edge:
    """Wraps the application of all plugins."""

    def __init__(self, app: "ASGIApp", metrics: "HttpMetrics", served: Callable[[], None]) -> None:
        self._app = app
        self._metrics = metrics
        self._served = served
        self.draining = False

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request or one WebSocket connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

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
            with correlated(_request(scope)):
                await self._app(scope, receive, answer)
        except Exception:
            metrics.exception(_route(scope))
            raise
        finally:
            metrics.end(scope["method"], _route(scope), status, time.perf_counter() - start)
            self._served()


def _request(scope: "Scope") -> dict[str, str]:
    """The id of the request and the trace it is part of, as its client says or new."""
    found = {b"x-request-id": "", b"traceparent": ""}
    for name, value in scope["headers"]:
        if name in found:
            found[name] = value.decode("latin-1")
    return new_request(found[b"x-request-id"], found[b"traceparent"])


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
