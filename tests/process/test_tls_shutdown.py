"""Clients over TLS that do not answer close_notify, or answer it late."""

import asyncio
import ssl
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from skep import Plugin
from skep.worker.http import limits
from tests.certificate import believing, certificate
from tests.support import wait_until_async
from tests.website import Website, run_website

LARGE = 6 * 1024 * 1024


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def large(request: Request) -> Response:
    return Response(b"x" * LARGE)


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.receive_text()


class Deaf:
    """A TLS client that reads when it is asked to, and never closes."""

    def __init__(self, folder: Path) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = believing(folder).wrap_bio(self._incoming, self._outgoing)

    async def connect(self, port: int) -> "Deaf":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        await self._do(self._tls.do_handshake)
        return self

    async def ask(self, path: str, *headers: str) -> None:
        head = "\r\n".join([f"GET {path} HTTP/1.1", "host: test", *headers, "", ""])
        self._tls.write(head.encode())
        self._writer.write(self._outgoing.read())

    async def read(self) -> bytes:
        """Return some of the answer; nothing at its end."""
        found: list[bytes] = []
        try:
            await self._do(lambda: found.append(self._tls.read(65536)))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError, ConnectionResetError):
            return b""
        return found[0]

    def leave(self) -> None:
        self._writer.close()

    async def _do(self, step: object) -> None:
        while True:
            try:
                step()  # type: ignore[operator]
                break
            except ssl.SSLWantReadError:
                self._writer.write(self._outgoing.read())
                async with asyncio.timeout(10):
                    data = await self._reader.read(65536)
                self._incoming.write(data) if data else self._incoming.write_eof()
        self._writer.write(self._outgoing.read())


def run(folder: Path, test: object, **options: object) -> None:
    certificate(folder, "localhost")
    files = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    routes = [Route("/", hello), Route("/large", large), WebSocketRoute("/chat", chat)]
    run_website(Plugin(routes), test, **files, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_idle_clients_that_ignore_close_notify_do_not_hold_a_worker(
    tmp_path: Path, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E7: a drain takes no longer than idle connections are kept, whatever the clients answer."""
    if loop == "asyncio":
        monkeypatch.setattr("tests.website.uvloop.new_event_loop", asyncio.new_event_loop)

    async def test(site: Website) -> None:
        idle = [await Deaf(tmp_path).connect(site.port) for _ in range(3)]
        for client in idle:
            await client.ask("/")
            assert (await client.read()).endswith(b"hello")
        upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")
        idle.append(await Deaf(tmp_path).connect(site.port))
        await idle[-1].ask("/chat", *upgrade, "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")
        assert b"101" in await idle[-1].read()
        site.kind.retire()
        began = asyncio.get_running_loop().time()
        await site.kind.drain(began + 60)
        assert asyncio.get_running_loop().time() - began < 25  # asyncio itself waits for 30 s
        for client in idle:
            client.leave()

    run(tmp_path, test, keep_alive=0.5)


def test_a_slow_client_gets_all_of_its_last_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E7: what ends the deaf clients does not cut off one that reads slowly."""
    monkeypatch.setattr(limits, "_LOOK", 0.01)
    monkeypatch.setattr(limits, "_GRACE", 0.05)

    async def test(site: Website) -> None:
        client = await Deaf(tmp_path).connect(site.port)
        await client.ask("/large", "connection: close")
        size = 0
        while data := await client.read():
            size += len(data)
            if size % 7 == 0:
                await asyncio.sleep(0.01)
        assert size > LARGE
        await wait_until_async(lambda: not site.kind._connections())
        client.leave()

    run(tmp_path, test)


def test_a_client_that_takes_nothing_of_its_last_answer_is_cut_off(tmp_path: Path) -> None:
    async def test(site: Website) -> None:
        client = await Deaf(tmp_path).connect(site.port)
        await client.ask("/large", "connection: close")
        await wait_until_async(lambda: site.kind._connections() == 1)
        await wait_until_async(lambda: not site.kind._connections())
        client.leave()

    run(tmp_path, test, progress_timeout=0.5)
