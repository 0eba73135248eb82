"""An application on a port of its own is served as those on the main port are."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from skep.api.hooks import ResponseHead
from skep.api.plugin import Plugin
from skep.api.sockets.listeners import HttpListener
from skep.base.errors import PlatformError
from tests.web_worker import WebWorker, run_with_worker


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def large(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello" * 1000)


async def fail(request: Request) -> PlainTextResponse:
    raise LookupError("as told")


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


ROUTES = [Route("/", hello), Route("/fail", fail), WebSocketRoute("/ws", greet)]


def test_hooks_and_cleaners_are_around_its_requests_too(tmp_path: Path) -> None:
    cleaned: list[str] = []

    def gatekeeper(request: Request) -> None:
        if request.headers.get("x-token") != "good":
            raise HTTPException(403, "not you")

    def sign(request: Request, head: ResponseHead) -> None:
        head.headers["x-signed"] = "yes"

    async def test(worker: WebWorker) -> None:
        port = worker.port("shop.own")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            refused = await http.get("/")
            assert (refused.status_code, refused.text) == (403, "not you")
            http.headers["x-token"] = "good"
            answer = await http.get("/")
            assert (answer.text, answer.headers["x-signed"]) == ("hello", "yes")
            assert (await http.get("/fail")).status_code == 500
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}/ws")
        assert len(cleaned) == 4

    plugin = Plugin(
        sockets=[HttpListener(ROUTES, name="own")],
        request_received=[gatekeeper],
        response_generated=[sign],
        cleaners=[lambda: cleaned.append("once")],
    )
    run_with_worker(tmp_path, plugin, test)


def test_the_middleware_of_its_plugin_is_around_it_and_no_other(tmp_path: Path) -> None:
    class Closed(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            if request.headers.get("x-token") != "good":
                return PlainTextResponse("closed", 401)
            return await call_next(request)

    async def test(worker: WebWorker) -> None:
        at = f"127.0.0.1:{worker.port('shop.own')}"
        good = {"x-token": "good"}
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://{at}/")).status_code == 401
            large = await http.get(f"http://{at}/large", headers=good)
            assert large.headers["content-encoding"] == "gzip"
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{at}/ws")
        assert refused.value.response.status_code == 401
        async with connect(f"ws://{at}/ws", additional_headers=good) as websocket:
            await websocket.wait_closed()

    own = HttpListener([*ROUTES, Route("/large", large)], name="own")
    plugin = Plugin(sockets=[own], middleware=[Middleware(Closed)])
    run_with_worker(tmp_path, plugin, test, compression=True)


def test_its_lifespan_is_that_of_the_worker(tmp_path: Path) -> None:
    life: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        life.append("begun")
        yield {"word": "honey"}
        life.append("over")

    async def word(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.word)

    async def test(worker: WebWorker) -> None:
        assert life == ["begun"]
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{worker.port('shop.own')}/")
            assert answer.text == "honey"

    app = Starlette(routes=[Route("/", word)], lifespan=lifespan)
    run_with_worker(tmp_path, Plugin(sockets=[HttpListener(app, name="own")]), test)
    assert life == ["begun", "over"]


def test_one_that_cannot_start_refuses_the_worker_and_is_named(tmp_path: Path) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise LookupError("no honey")
        yield

    async def test(worker: WebWorker) -> None:
        raise AssertionError("it serves")

    app = Starlette(routes=ROUTES, lifespan=lifespan)
    with pytest.raises(
        PlatformError, match=r"The application of shop\.own cannot start: (.|\n)*honey"
    ):
        run_with_worker(tmp_path, Plugin(sockets=[HttpListener(app, name="own")]), test)
