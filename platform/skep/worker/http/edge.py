"""The outermost ASGI application of a web worker.

Requests become exchanges, which name, measure and bound them. While the worker drains every
connection is the last: each response carries `Connection: close`. WebSockets are closed by the hub.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from skep.worker.http.access_log import AccessLog
from skep.worker.http.middleware import Common, Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from skep.metrics.web import HttpMetrics


class Edge:
    """Wraps an application; `max_body` is in bytes. WebSockets reach `websockets`."""

    def __init__(
        self,
        app: "ASGIApp",
        metrics: "HttpMetrics",
        served: Callable[[], None],
        max_body: int,
        access_log: AccessLog | None = None,
        websockets: "ASGIApp | None" = None,
    ) -> None:
        self._websockets = websockets or app
        self._common = Common(app, metrics, served, max_body, access_log)

    def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> Awaitable[None]:
        """Serve one request or one WebSocket connection."""
        # No coroutine of its own, which every request would pay for.
        if scope["type"] == "http":
            return Exchange(self._common, scope, receive, send).run()
        return self._websockets(scope, receive, send)

    def drain(self) -> None:
        """Make every answer from now on the last of its connection."""
        self._common.draining = True
