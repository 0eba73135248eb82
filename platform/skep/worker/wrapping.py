"""The middleware of one plugin, around its routes and nobody else's."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, WebSocketRoute

from skep.worker.handshake import Screened

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

R = TypeVar("R", bound=BaseRoute)
_INNER = "skep.wrapped_app"


class Wrapping:
    """One stack of middleware for all routes of a plugin, so that what a middleware remembers is
    known to it on every route."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._stack: ASGIApp | None = None
        if middleware:
            self._stack = _innermost
            for cls, args, kwargs in reversed(middleware):
                self._stack = cls(self._stack, *args, **kwargs)

    def around(self, route: R) -> R:
        """Return the route with the middleware around it; the plugin's own is left as it is."""
        stack = self._stack
        if stack is None or not hasattr(route, "app"):
            return route
        inner: ASGIApp = route.app

        async def enter(scope: "Scope", receive: "Receive", send: "Send") -> None:
            scope[_INNER] = inner
            await stack(scope, receive, send)

        wrapped: Any = copy.copy(route)
        is_websocket = isinstance(route, WebSocketRoute)
        wrapped.app = Screened(stack, _INNER, inner) if is_websocket else enter
        return wrapped  # type: ignore[no-any-return]


async def _innermost(scope: "Scope", receive: "Receive", send: "Send") -> None:
    await scope[_INNER](scope, receive, send)
