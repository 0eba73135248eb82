"""A stack of middleware: that of one plugin around what it serves, or that of all plugins together
around all that the platform serves.

Most middleware, like Starlette's BaseHTTPMiddleware, looks at HTTP only and lets WebSockets pass
unseen. So the handshake of a WebSocket goes through the stack as the GET it is. If the stack lets
it through, the application gets the WebSocket, with what the middleware put into the scope (`user`,
`session`, `state`) and the headers it added to the answer; otherwise the client gets the answer of
the middleware, and no 101. Then the WebSocket itself goes through the stack as well: middleware
that looks only at WebSockets would otherwise be bypassed, a lock that is silently open.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute

from skep.base.errors import PlatformError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]

# Of the answer to the GET, what would be wrong in a 101.
_OF_ANSWERS = frozenset({b"content-length", b"content-type", b"connection", b"transfer-encoding"})
# What a WebSocket's scope does not have, or has otherwise.
OF_REQUESTS = frozenset({"type", "method", "scheme"})
_PASSED = 204

R = TypeVar("R", bound=BaseRoute)


class Screened:
    """An application behind a stack of HTTP middleware.

    `stack` calls whatever the scope has under `inner` as its innermost application. For the GET it
    is over before the WebSocket is open.
    """

    def __init__(self, stack: ASGIApp, inner: str, app: ASGIApp) -> None:
        self._stack = stack
        self._inner = inner
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, passed = as_request(scope), False

        async def reached(within: Scope, receive: Receive, send: Send) -> None:
            nonlocal passed
            passed = True
            request.update(within)
            await Response(status_code=_PASSED)(within, receive, send)

        request[self._inner] = reached
        answer = _Answer()
        await self._stack(request, empty_body(), answer.take)
        if not passed or answer.status != _PASSED:
            await answer.deny(send)
            return
        known = scope.keys() | OF_REQUESTS | {self._inner}
        learned = {key: value for key, value in request.items() if key not in known}

        async def innermost(within: Scope, receive: Receive, send: Send) -> None:
            within.update(learned)  # a session as it was left, and not as it was in the cookie
            await self._app(within, receive, send)

        async def accept(message: Message) -> None:
            if message["type"] == "websocket.accept":
                headers = list(message.get("headers", ()))
                message = {**message, "headers": [*headers, *answer.lacking(headers)]}
            await send(message)

        scope.update(learned)
        scope[self._inner] = innermost
        await self._stack(scope, receive, accept)


def as_request(scope: Scope) -> dict[str, Any]:
    """Return the scope of a handshake as the GET it is."""
    scheme = {"ws": "http", "wss": "https"}.get(scope.get("scheme", "ws"), "http")
    return {**scope, "type": "http", "method": "GET", "scheme": scheme}


def empty_body() -> Receive:
    """Return what a GET receives; a second call waits, as for a client that stays."""
    is_sent = False

    async def receive() -> Message:
        nonlocal is_sent
        if is_sent:
            await asyncio.get_running_loop().create_future()
        is_sent = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


class _Answer:
    def __init__(self) -> None:
        self.status = 500
        self._headers: Headers = []
        self._body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def lacking(self, headers: Headers) -> Headers:
        """Return the headers to add to a 101 that has these; only cookies may repeat."""
        has = {name.lower() for name, _ in headers} - {b"set-cookie"} | _OF_ANSWERS
        lacking = [header for header in self._headers if header[0].lower() not in has]
        return [header for header in lacking if header not in headers]

    async def deny(self, send: Send) -> None:
        start = {"status": self.status, "headers": self._headers}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": bytes(self._body)})


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

    def wrap(self, inner: ASGIApp) -> ASGIApp:
        stack = self._stack
        if stack is None:
            return inner
        screened = Screened(stack, self._inner, inner)

        async def enter(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await screened(scope, receive, send)
            else:
                scope[self._inner] = inner
                await stack(scope, receive, send)

        return enter

    async def _innermost(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await scope[self._inner](scope, receive, send)
        except SystemExit as error:
            # A middleware may run us in an asyncio task of its own, which would end the worker.
            raise RuntimeError(f"A handler called sys.exit({error.code!r}).") from error


class _RequestsOnly:
    """A middleware that has decided on a WebSocket when it has decided on its handshake."""

    def __init__(self, middleware: ASGIApp, app: ASGIApp) -> None:
        self._middleware = middleware
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app if scope["type"] == "websocket" else self._middleware
        await app(scope, receive, send)


def _made(cls: Any, app: ASGIApp, args: Any, kwargs: Any) -> ASGIApp:
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
