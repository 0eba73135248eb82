"""Over TLS a client is there from its handshake on, and not only when that is done."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from skep import Plugin, TcpConnection, TcpHandler, TcpListener
from skep.base.sockets.listening import is_readable
from tests.certificate import believing, certificate
from tests.support import wait_until_async
from tests.web_worker import WebWorker, run_with_worker
from tests.website import Website, run_website


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def speak_tls(folder: Path, writer: asyncio.StreamWriter) -> None:
    """Do the handshake on a connection that has been silent."""
    async with asyncio.timeout(10):
        await writer.start_tls(believing(folder))


def run(folder: Path, test: object, **options: object) -> None:
    certificate(folder, "localhost")
    files = {"tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}
    run_website(Plugin([Route("/", hello)]), test, **files, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 20])
def test_who_had_connected_before_the_drain_may_end_its_handshake_and_is_answered(
    tmp_path: Path, count: int
) -> None:
    async def test(site: Website) -> None:
        silent = [await site.connect() for _ in range(count)]
        await wait_until_async(lambda: not is_readable(site.listener))
        site.kind.retire()
        draining = asyncio.create_task(site.kind.drain(asyncio.get_running_loop().time() + 9))
        done, _ = await asyncio.wait({draining}, timeout=0.5)
        assert not done, "the worker would have ended"
        for connection in silent:
            await speak_tls(tmp_path, connection.writer)
            answer = await connection.ask("/")
            assert (answer.body, answer.headers["connection"]) == (b"hello", "close")
        await draining

    run(tmp_path, test)


def test_who_never_begins_its_handshake_keeps_no_worker_from_ending(tmp_path: Path) -> None:
    async def test(site: Website) -> None:
        silent = await site.connect()
        await wait_until_async(lambda: not is_readable(site.listener))
        site.kind.retire()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await site.kind.drain(began + 60)
        assert loop.time() - began < 30
        assert await silent.ended() == b""

    run(tmp_path, test, header_timeout=0.5)


class Lines(TcpHandler):
    async def on_receive(self, connection: TcpConnection, frame: bytes) -> None:
        await connection.send(frame)

    async def on_drain(self, connection: TcpConnection) -> None:
        await connection.send(b"draining")


def test_so_is_who_had_connected_to_a_listener_of_a_plugin(tmp_path: Path) -> None:
    certificate(tmp_path, "own")
    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    listener = TcpListener(Lines, name="tcp", **files)  # type: ignore[arg-type]

    async def test(worker: WebWorker) -> None:
        port = worker.port("shop.tcp")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        (accepting,) = worker.listeners.descriptors(["shop.tcp"], 7)
        with socket.socket(fileno=os.dup(accepting)) as shared:
            await wait_until_async(lambda: not is_readable(shared))
        ending = asyncio.create_task(worker.end(seconds=8))
        done, _ = await asyncio.wait({ending}, timeout=0.5)
        assert not done, "the worker would have ended"
        await speak_tls(tmp_path, writer)
        writer.write(b"one\n")
        assert {await reader.readline(), await reader.readline()} == {b"one\n", b"draining\n"}
        writer.close()
        await ending

    run_with_worker(tmp_path, Plugin(sockets=[listener]), test)
