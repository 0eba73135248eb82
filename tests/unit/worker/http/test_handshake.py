"""What HTTP middleware decides binds the handshake of a WebSocket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from skep.api.plugin import Plugin
from skep.worker.http.wrapping import Screened
from tests.raw_websocket import TEXT, RawWebSocket
from tests.web_worker import WebWorker, run_with_worker


async def innermost(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["inner"](scope, receive, send)


class Door(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.headers.get("x-token") != "good":
            return PlainTextResponse("Not you.", 403, {"x-why": "token"})
        request.state.guest = "ann"
        answer = await call_next(request)
        answer.headers["x-door"] = "open"
        return answer


class Passport(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        return AuthCredentials(["guest"]), SimpleUser("Ann")


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    await websocket.send_text(f"{websocket.state.guest} is {websocket.user.display_name}")
    await websocket.close()


def behind(stack: Callable[[ASGIApp], ASGIApp]) -> Plugin:
    app = Screened(stack(innermost), "inner", serve)
    return Plugin(routes=[WebSocketRoute("/", app)])


def run(tmp_path: Path, plugin: Plugin, test: Callable[[WebWorker], Any]) -> None:
    run_with_worker(tmp_path, plugin, test)


def test_a_refusal_is_the_answer_and_there_is_no_101(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(worker.url("/"))
        answer = refused.value.response
        assert (answer.status_code, bytes(answer.body)) == (403, b"Not you.")
        assert answer.headers["x-why"] == "token"

    run(tmp_path, behind(Door), test)


def test_what_middleware_knows_and_adds_reaches_the_websocket(tmp_path: Path) -> None:
    def stack(app: ASGIApp) -> ASGIApp:
        return AuthenticationMiddleware(Door(app), backend=Passport())

    async def test(worker: WebWorker) -> None:
        headers = {"x-token": "good"}
        async with connect(worker.url("/"), additional_headers=headers) as client:
            assert client.response is not None
            assert client.response.headers["x-door"] == "open"
            assert "content-length" not in client.response.headers
            assert await client.recv() == "ann is Ann"

    run(tmp_path, behind(stack), test)


def test_middleware_that_fails_is_a_500(tmp_path: Path) -> None:
    class Broken(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            raise LookupError("as told")

    async def test(worker: WebWorker) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(worker.url("/"))
        assert refused.value.response.status_code == 500
        async with asyncio.timeout(20):
            with pytest.raises(InvalidStatus):
                await connect(worker.url("/"))

    run(tmp_path, behind(Broken), test)


class Sessions:
    """As Starlette's: it looks at both kinds, and reads the cookie each time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"] = {"visits": 0}

        async def answer(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                told = [(b"x-session", b"1"), (b"set-cookie", b"s=1")]
                message = {**message, "headers": [*message.get("headers", ()), *told]}
            await send(message)

        await self.app(scope, receive, answer)


class Visits(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        request.scope["session"]["visits"] += 1
        return await call_next(request)


def test_a_session_that_was_changed_is_kept_and_no_header_is_said_twice(tmp_path: Path) -> None:
    async def visits(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept(headers=[(b"set-cookie", b"mine=1")])
        await websocket.send_json(websocket.scope["session"])

    async def test(worker: WebWorker) -> None:
        async with connect(worker.url("/")) as client:
            assert client.response is not None
            assert json.loads(await client.recv()) == {"visits": 1}
            assert client.response.headers.get_all("x-session") == ["1"]
            cookies = client.response.headers.get_all("set-cookie")
            assert sorted(cookies) == ["mine=1", "s=1"]

    app = Screened(Sessions(Visits(innermost)), "inner", visits)
    run(tmp_path, Plugin(routes=[WebSocketRoute("/", app)]), test)


def test_a_refusal_that_waits_for_the_client_to_leave_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A stream listens for the disconnect; a client that is still there says nothing more."""

    def streaming(app: ASGIApp) -> ASGIApp:
        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            async def chunks() -> AsyncIterator[str]:
                yield "not "
                yield "now"

            old = {**scope, "asgi": {"version": "3.0", "spec_version": "2.3"}}
            await StreamingResponse(chunks(), 403)(old, receive, send)

        return refuse

    async def test(worker: WebWorker) -> None:
        async with asyncio.timeout(20):
            with pytest.raises(InvalidStatus) as refused:
                await connect(worker.url("/"))
        assert bytes(refused.value.response.body) == b"not now"

    run(tmp_path, behind(streaming), test)


@pytest.mark.parametrize(
    ("middleware", "headers", "status"),
    [
        (
            Middleware(CORSMiddleware, allow_origins=["https://here"]),
            {"origin": "https://test"},
            101,
        ),
        (Middleware(GZipMiddleware), {"accept-encoding": "gzip"}, 101),
        (Middleware(SessionMiddleware, secret_key="s"), {}, 101),
        (Middleware(TrustedHostMiddleware, allowed_hosts=["test"]), {}, 101),
        (Middleware(TrustedHostMiddleware, allowed_hosts=["example.org"]), {}, 400),
        (Middleware(HTTPSRedirectMiddleware), {}, 307),
        (Middleware(AuthenticationMiddleware, backend=Passport()), {}, 101),
    ],
)
def test_starlette_s_own_middleware_does_with_a_websocket_what_it_does_with_a_request(
    middleware: Middleware, headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async def test(worker: WebWorker) -> None:
        streams = await asyncio.open_connection("127.0.0.1", worker.port())
        client = RawWebSocket(*streams)
        assert await client.handshake("/", *(f"{k}: {v}" for k, v in headers.items())) == status
        if status == 101:
            await client.send(client.frame(TEXT, b"hello"))
            assert await client.read() == (TEXT, b"hello")
        client.writer.close()

    run(tmp_path, Plugin(routes=[WebSocketRoute("/", echo)], middleware=[middleware]), test)
