"""The middleware of a plugin decides on the handshake of its WebSockets, too."""

import asyncio
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from skep.base.errors import PlatformError
from skep.worker.http.wrapping import Wrapping


class Door(BaseHTTPMiddleware):
    """Lets in who knows the word."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.query_params.get("word") != "honey":
            return PlainTextResponse("no", status_code=403)
        return await call_next(request)


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("welcome")
    await websocket.close()


def handshake(query: bytes) -> list[dict[str, Any]]:
    """Return what the server says to a handshake with this query."""
    route = Wrapping([Middleware(Door)]).around(WebSocketRoute("/hive", greet))
    said: list[dict[str, Any]] = []
    scope = {
        "type": "websocket",
        "path": "/hive",
        "raw_path": b"/hive",
        "root_path": "",
        "scheme": "ws",
        "query_string": query,
        "headers": [],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(dict(message))

    asyncio.run(Starlette(routes=[route])(scope, receive, send))
    return said


def test_who_passes_the_middleware_gets_the_websocket() -> None:
    kinds = [message["type"] for message in handshake(b"word=honey")]
    assert kinds == ["websocket.accept", "websocket.send", "websocket.close"]


def test_a_403_of_the_middleware_means_no_websocket() -> None:
    start, body = handshake(b"")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert body["body"] == b"no"


class Keyless:
    def __init__(self, app: ASGIApp) -> None:
        raise ValueError("no key")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def test_a_middleware_that_cannot_be_made_is_named() -> None:
    with pytest.raises(PlatformError, match=r"test_wrapping\.Keyless cannot be made: .*no key"):
        Wrapping([Middleware(Keyless)])


def test_stacks_around_each_other_keep_their_own_application() -> None:
    """A15: a middleware around all may call its application twice."""
    served: list[str] = []

    class Twice:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)
            await self._app(scope, receive, send)

    class Once:
        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            served.append("plugin's")
            await self._app(scope, receive, send)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append("application")

    inner = Wrapping([Middleware(Once)]).wrap(app)
    outer = Wrapping([Middleware(Twice)], "all").wrap(inner)

    async def serve() -> None:
        await outer({"type": "http"}, cast(Any, None), cast(Any, None))

    asyncio.run(serve())
    assert served == ["plugin's", "application"] * 2
