"""TLS on listeners that plugins declare, by real handshakes, in both event loops."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from skep.api.plugin import Plugin
from skep.api.sockets.handlers import TcpConnection, TcpHandler
from skep.api.sockets.listeners import HttpListener, TcpListener
from skep.api.sockets.websocket import Connection, WebSocketHandler
from skep.base.errors import PlatformError, UsageError
from skep.config.options.table import Options
from skep.worker.loading.endpoints import Tls, endpoints, problems
from tests.certificate import believing, certificate
from tests.web_worker import WebWorker, web_worker

LARGE = 1_000_000


class Server(TcpHandler):
    async def on_receive(self, connection: TcpConnection, frame: bytes) -> None:
        if frame == b"large":
            await connection.send(b"x" * LARGE)
            connection.close()
        else:
            await connection.send(frame)

    async def on_drain(self, connection: TcpConnection) -> None:
        await connection.send(b"draining")


class Echo(WebSocketHandler):
    async def on_message(self, connection: Connection, message: str | bytes) -> None:
        await connection.send(message)


async def scheme(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.url.scheme)


def own(folder: Path) -> dict[str, str]:
    return {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


def tcp(**more: Any) -> Plugin:
    return Plugin(sockets=[TcpListener(Server, name="tcp", **more)])


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]

    def run(plugin: Plugin, test: Callable[[WebWorker], Awaitable[None]], **options: Any) -> None:
        async def whole() -> None:
            async with web_worker(tmp_path, plugin, **options) as worker:
                await test(worker)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())

    return run


def test_a_tcp_listener_with_a_certificate_of_its_own(
    run: Callable[..., None], tmp_path: Path
) -> None:
    certificate(tmp_path, "own")

    async def test(worker: WebWorker) -> None:
        port, tls = worker.port("shop.tcp"), believing(tmp_path)
        async with connected(port, tls) as (reader, writer):
            writer.write(b"one\ntwo\n")
            assert await reader.readexactly(8) == b"one\ntwo\n"
            # All that was sent before the close arrives, and the end is one, not a cut
            writer.write(b"large\nmore that nobody reads\n")
            assert len(await reader.read(-1)) == LARGE + 1
        # Whoever speaks no TLS gets nothing, and costs nobody anything
        async with connected(port, None) as (reader, writer):
            writer.write(b"one\n" * 100)
            with contextlib.suppress(ConnectionResetError):
                assert b"one" not in await asyncio.wait_for(reader.read(), 10)
        # A drain says goodbye and ends with an end
        async with connected(port, tls) as (reader, writer):
            writer.write(b"one\n")
            assert await reader.readline() == b"one\n"
            ending = asyncio.create_task(worker.end(seconds=2.5))
            assert await reader.readline() == b"draining\n"
            assert await reader.read() == b""
        await ending

    run(tcp(**own(tmp_path)), test)


@contextlib.asynccontextmanager
async def connected(
    port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def test_an_http_listener_with_the_certificate_of_the_platform(
    run: Callable[..., None], tmp_path: Path
) -> None:
    certificate(tmp_path, "platform")
    routes = [Route("/", scheme), WebSocketRoute("/ws", Echo)]

    async def test(worker: WebWorker) -> None:
        port, tls = worker.port("shop.own"), believing(tmp_path)
        async with httpx.AsyncClient(verify=tls) as http:
            assert (await http.get(f"https://127.0.0.1:{port}/")).text == "https"
        async with connect(f"wss://127.0.0.1:{port}/ws", ssl=tls) as websocket:
            await websocket.send("hi")
            assert await websocket.recv() == "hi"

    run(Plugin(sockets=[HttpListener(routes, name="own", tls=True)]), test, **own(tmp_path))


def test_a_certificate_that_is_none_refuses_the_worker_and_names_the_listener(
    run: Callable[..., None], tmp_path: Path
) -> None:
    certificate(tmp_path, "own")
    (tmp_path / "cert.pem").write_text("no certificate")

    async def test(worker: WebWorker) -> None:
        raise AssertionError("it serves")

    with pytest.raises(PlatformError, match=r"cert\.pem .* see tls_cert and tls_key of shop\.tcp"):
        run(tcp(**own(tmp_path)), test)


def test_a_certificate_that_cannot_be_used_is_told_in_plain_words(tmp_path: Path) -> None:
    def refusal(**files: str) -> str:
        with pytest.raises(UsageError) as refused:
            Tls.load({}, Options(**{name: str(tmp_path / file) for name, file in files.items()}))  # type: ignore[arg-type]
        return str(refused.value)

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        certificate(tmp_path / name, name)
    (tmp_path / "none.pem").write_text("no certificate")
    both = refusal(tls_cert="a/cert.pem", tls_key="b/key.pem")
    assert "the key is that of another certificate" in both
    assert "there is no PEM" in refusal(tls_cert="none.pem")
    assert "there is no PEM" in refusal(tls_cert="a/cert.pem")
    assert "No such file" in refusal(tls_cert="nowhere.pem")


def test_tls_needs_a_certificate_from_somewhere() -> None:
    plugins = {"shop": tcp(tls=True)}
    (problem,) = problems(plugins, Options())
    assert (problem.plugin, problem.stage) == ("shop", "listen")
    assert "shop.tcp is to be served over TLS" in problem.message
    assert problems(plugins, Options(tls_cert="cert.pem")) == []
    assert problems({"shop": tcp(tls_cert="own.pem")}, Options()) == []
    with pytest.raises(PlatformError, match=r"tls_key = 'own\.key' without"):
        TcpListener(Server, tls_key="own.key")


def test_the_address_for_people_says_that_it_is_encrypted() -> None:
    http = Plugin(sockets=[HttpListener([], tls=True)])
    (one,), (other,) = endpoints({"shop": tcp(tls_cert="own.pem")}), endpoints({"shop": http})
    assert (one.name, one.scheme, one.transport) == ("shop.tcp", "tls", "tcp")
    assert (other.name, other.scheme) == ("shop.http", "https")
