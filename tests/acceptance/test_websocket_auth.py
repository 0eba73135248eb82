"""Who may not come in gets the status that HTTP would have given, and no 101: a whole platform."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.platform_process import Platform

GUARDED = """
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute

from skep import Plugin, WebSocketHandler


class Tickets(AuthenticationBackend):
    # A ticket lets in once.
    used = set()

    async def authenticate(self, conn):
        ticket = conn.query_params.get("ticket", "")
        if not ticket or ticket in self.used:
            raise AuthenticationError("no ticket")
        self.used.add(ticket)
        return AuthCredentials(["guest"]), SimpleUser(ticket.partition("-")[0])


class Banned(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        if request.user.display_name == "mallory":
            return PlainTextResponse("not you", 403, {"x-why": "banned"})
        request.session["visits"] = request.session.get("visits", 0) + 1
        answer = await call_next(request)
        answer.headers["x-seen"] = "yes"
        return answer


class Quiet:
    # Knows nothing but WebSockets, and not those that ask for silence.
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket" and b"silence" in scope["query_string"]:
            await send({"type": "websocket.close", "code": 4001})
            return
        await self.app(scope, receive, send)


class Echo(WebSocketHandler):
    async def on_open(self, connection):
        scope = self._websocket.scope
        await connection.send(f"{scope['user'].display_name} {scope['session']['visits']}")

    async def on_message(self, connection, message):
        await connection.send(message)


async def plain(websocket):
    await websocket.accept()
    await websocket.send_text(f"{websocket.user.display_name} {websocket.session['visits']}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def refused(error):
    return PlainTextResponse(str(error), 401)


plugin = Plugin(
    routes=[
        WebSocketRoute("/handler", Echo),
        WebSocketRoute("/starlette", plain),
        Mount("/routes", routes=[WebSocketRoute("/in", plain)]),
    ],
    mounts={"/app": Starlette(routes=[WebSocketRoute("/in", Echo)])},
    middleware=[
        Middleware(SessionMiddleware, secret_key="s"),
        Middleware(
            AuthenticationMiddleware,
            backend=Tickets(),
            on_error=lambda conn, error: PlainTextResponse(str(error), 401),
        ),
        Middleware(Banned),
        Middleware(Quiet),
    ],
)
"""
GATE = """
from starlette.exceptions import HTTPException

from skep import Plugin


async def gatekeeper(request):
    if request.headers.get("x-from") == "nowhere":
        raise HTTPException(451, "not from there")


plugin = Plugin(request_received=[gatekeeper])
"""
PATHS = ("/handler", "/starlette", "/routes/in", "/app/in")


@pytest.fixture
def guarded(platform: Platform) -> Platform:
    (platform.plugins / "guarded.py").write_text(GUARDED)
    (platform.plugins / "gate.py").write_text(GATE)
    # A ticket is known to one worker only.
    platform.environment["PLATFORM_WEB_WORKERS"] = "1"
    return platform.start()


async def refusal(url: str, **headers: str) -> tuple[int, bytes]:
    """Return the status and the body of the answer that is no 101."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers)
    answer = refused.value.response
    return answer.status_code, bytes(answer.body or b"")


def test_ws_auth_at_handshake_is_what_the_middleware_decides_wherever_the_websocket_is(
    guarded: Platform,
) -> None:
    base = guarded.url.replace("http", "ws")

    async def test() -> None:
        for path in PATHS:
            url, tail = f"{base}{path}", path.strip("/").replace("/", "")
            assert await refusal(url) == (401, b"no ticket")
            assert await refusal(f"{url}?ticket=mallory-{tail}") == (403, b"not you")
            assert (await refusal(f"{url}?ticket=eve-{tail}&silence"))[0] == 403
            mine = f"{url}?ticket=ann-{tail}"
            assert await refusal(mine, **{"x-from": "nowhere"}) == (451, b"not from there")
            async with connect(mine) as client:
                assert client.response is not None
                assert client.response.status_code == 101
                assert client.response.headers["x-seen"] == "yes"
                cookie = client.response.headers["set-cookie"].partition(";")[0]
                assert await client.recv() == "ann 1"
                await client.send("hello")
                assert await client.recv() == "hello"
            assert await refusal(mine) == (401, b"no ticket")
            again = connect(f"{mine}-again", additional_headers={"cookie": cookie})
            async with again as client:
                assert await client.recv() == "ann 2"

    asyncio.run(test())
    assert "Traceback" not in guarded.output()
