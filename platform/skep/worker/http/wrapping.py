"""A stack of middleware: that of one plugin around what it serves, or that of all plugins together
around all that the platform serves."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from skep.base.errors import PlatformError
from skep.worker.http.handshake import Screened

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

R = TypeVar("R", bound=BaseRoute)


class Wrapping:
    """One stack of middleware for all that is wrapped, so that a middleware shares its memory
    between routes. `name` distinguishes stacks around each other."""

    def __init__(self, middleware: Sequence[Middleware], name: str = "plugin") -> None:
        self._stack: ASGIApp | None = None
        self._inner = f"skep.wrapped_by_{name}"
        if middleware:
            self._stack = self._innermost
            for cls, args, kwargs in reversed(middleware):
                made = _made(cls, self._stack, args, kwargs)
                self._stack = _RequestsOnly(made, self._stack) if _is_starlettes(cls) else made

    def __bool__(self) -> bool:
        return self._stack is not None

    def around(self, route: R) -> R:
        """Return the route with the middleware around it; the plugin's own is left as it is."""
        if self._stack is None or not hasattr(route, "app"):
            return route
        wrapped: Any = copy.copy(route)
        wrapped.app = self.wrap(route.app)
        return wrapped  # type: ignore[no-any-return]

    def wrap(self, inner: "ASGIApp") -> "ASGIApp":
        stack = self._stack
        if stack is None:
            return inner
        screened = Screened(stack, self._inner, inner)

        async def enter(scope: "Scope", receive: "Receive", send: "Send") -> None:
            if scope["type"] == "websocket":
                await screened(scope, receive, send)
            else:
                scope[self._inner] = inner
                await stack(scope, receive, send)

        return enter

    async def _innermost(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        await scope[self._inner](scope, receive, send)


class _RequestsOnly:
    """A middleware that has decided on a WebSocket when it has decided on its handshake."""

    def __init__(self, middleware: "ASGIApp", app: "ASGIApp") -> None:
        self._middleware = middleware
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        app = self._app if scope["type"] == "websocket" else self._middleware
        await app(scope, receive, send)


def _made(cls: Any, app: "ASGIApp", args: Any, kwargs: Any) -> "ASGIApp":
    try:
        made: ASGIApp = cls(app, *args, **kwargs)
    except Exception as error:
        name = f"{getattr(cls, '__module__', '')}.{getattr(cls, '__qualname__', cls)}"
        raise PlatformError(f"The middleware {name} cannot be made: {error!r}.") from error
    return made


def _is_starlettes(cls: Any) -> bool:
    """Return whether it is a class of Starlette's or derived from one: for a WebSocket these do
    nothing beyond what they do for its handshake, and a second run would cost twice or lose state.
    """
    bases = getattr(cls, "__mro__", ())
    return any(base.__module__.startswith("starlette.middleware.") for base in bases)
