"""TCP and UDP listeners of one worker, and ports that have an application of their own."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from skep.api.plugin import Plugin
from skep.api.sockets.framing import Chunks, Delimited, Framing, LengthPrefixed, Lines
from skep.api.sockets.handlers import Packet, TcpConnection, TcpHandler, UdpHandler
from skep.api.sockets.listeners import HttpListener, TcpListener, UdpListener
from skep.api.sockets.push import connections
from skep.base.errors import PlatformError
from tests.support import wait_until_async
from tests.web_worker import WebWorker, run_with_worker

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Recorder(TcpHandler):
    """Sends every frame back, and remembers what was called."""

    calls: ClassVar[list[str]] = []

    async def on_connect(self, connection: TcpConnection) -> None:
        self.calls.append("connect")

    async def on_receive(self, connection: TcpConnection, frame: bytes) -> None:
        if frame == b"fail":
            raise LookupError("as told")
        if frame == b"exit":
            raise SystemExit(3)
        if frame == b"close":
            await connection.send(b"bye")
            connection.close()
        elif frame == b"flood":
            while True:
                await connection.send(b"x" * 10_000)
        else:
            await connection.send(frame)

    async def on_close(self, connection: TcpConnection, reason: str) -> None:
        self.calls.append(reason)

    async def on_drain(self, connection: TcpConnection) -> None:
        await connection.send(b"draining")

    def on_buffer_full(self, connection: TcpConnection) -> None:
        self.calls.append("full")

    def on_buffer_empty(self, connection: TcpConnection) -> None:
        self.calls.append("empty")


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    Recorder.calls.clear()


def tcp(**more: Any) -> Plugin:
    return Plugin(sockets=[TcpListener(Recorder, name="tcp", **more)])


async def client(worker: WebWorker) -> Client:
    return await asyncio.open_connection("127.0.0.1", worker.port("shop.tcp"))


async def ended(reason: str) -> None:
    await wait_until_async(lambda: Recorder.calls[-1] == reason)


@pytest.mark.parametrize(
    ("framing", "sent", "back"),
    [
        (Lines(), b"one\r\ntwo\n\nthree\n", b"one\ntwo\n\nthree\n"),
        (Delimited(b"\r\n\r\n"), b"one\r\n\r\ntwo\r\n\r\n", b"one\r\n\r\ntwo\r\n\r\n"),
        (LengthPrefixed(2), b"\0\x03one\0\0\0\x03two", b"\0\x03one\0\0\0\x03two"),
        (LengthPrefixed(4, "little"), b"\x01\0\0\0a", b"\x01\0\0\0a"),
        (Chunks(), b"whatever comes", b"whatever comes"),
    ],
    ids=["lines", "delimited", "length", "little", "chunks"],
)
def test_frames_are_cut_wherever_the_segments_end(
    tmp_path: Path, framing: Framing, sent: bytes, back: bytes
) -> None:
    async def test(worker: WebWorker) -> None:
        for size in (1, 5, len(sent)):
            reader, writer = await client(worker)
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await writer.drain()
                await asyncio.sleep(0)
            assert await reader.readexactly(len(back)) == back
            writer.close()
            await ended("eof")

    run_with_worker(tmp_path, tcp(framing=framing), test)


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        (Lines(limit=100), b"x" * 300),
        (Delimited(b"\0", limit=100), b"x" * 150 + b"\0"),
        (LengthPrefixed(4, limit=100), b"\x7f\xff\xff\xff" + b"x" * 1000),
    ],
    ids=["lines", "delimited", "length"],
)
def test_too_large_a_frame_ends_the_connection_with_a_fin(
    tmp_path: Path, framing: Framing, sent: bytes
) -> None:
    async def test(worker: WebWorker) -> None:
        reader, writer = await client(worker)
        writer.write(sent)
        assert await reader.read() == b""
        await ended("too_large")
        writer.close()

    run_with_worker(tmp_path, tcp(framing=framing), test)


@pytest.mark.parametrize(
    ("sent", "reason", "back"),
    [
        (b"", "silent", b""),
        (b"half a line", "idle", b""),
        (b"one\n", "idle", b"one\n"),
        (b"close\nmore\n", "closed", b"bye\n"),
        (b"fail\nmore\n", "error", b""),
        (b"exit\nmore\n", "error", b""),
    ],
)
def test_each_end_has_its_reason(tmp_path: Path, sent: bytes, reason: str, back: bytes) -> None:
    async def test(worker: WebWorker) -> None:
        reader, writer = await client(worker)
        writer.write(sent)
        assert await reader.read() == back
        await ended(reason)
        labels = {"listener": "shop.tcp", "reason": reason}
        await wait_until_async(lambda: worker.metric("socket_closes_total", **labels) == 1)
        writer.close()

    run_with_worker(tmp_path, tcp(first_byte=0.2, idle=0.4), test)


def test_a_client_that_ends_within_a_frame_or_is_reset_is_told_apart(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        _, writer = await client(worker)
        writer.write(b"half a line")
        writer.write_eof()
        await ended("cut")
        writer.close()
        _, writer = await client(worker)
        writer.write(b"one\n")
        await wait_until_async(lambda: worker.metric("socket_frames_total", listener="shop.tcp"))
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        await ended("lost")

    run_with_worker(tmp_path, tcp(), test)


def test_who_is_one_too_many_is_closed_and_the_others_are_served(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        first = await client(worker)
        first[1].write(b"one\n")
        assert await first[0].readline() == b"one\n"
        second = await client(worker)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await second[0].readexactly(1)
        full = {"listener": "shop.tcp", "reason": "full"}
        assert worker.metric("socket_closes_total", **full) == 1
        first[1].write(b"two\n")
        assert await first[0].readline() == b"two\n"
        (row,) = await connections("shop.tcp")
        assert (row["frames"], row["worker"]) == (2, "web.0@7")
        for _, writer in (first, second):
            writer.close()
        await ended("eof")

    run_with_worker(tmp_path, tcp(connections=1), test)


def test_a_client_that_does_not_read_is_felt_and_then_cut_off(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        _, writer = await client(worker)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"flood\n")
        await wait_until_async(lambda: "full" in Recorder.calls)
        await ended("slow")
        writer.transport.abort()

    run_with_worker(tmp_path, tcp(idle=0.3), test)


def test_a_drain_tells_the_handler_serves_on_and_ends_with_a_fin(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        reader, writer = await client(worker)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        ending = asyncio.create_task(worker.end(seconds=2.5))
        assert await reader.readline() == b"draining\n"
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        assert await reader.read() == b""  # a FIN; a reset would raise
        assert Recorder.calls[-1] == "drained"
        writer.close()
        await ending

    run_with_worker(tmp_path, tcp(), test)


def test_a_unix_socket_is_a_tcp_listener_too(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "line.sock")
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        assert (tmp_path / "line.sock").stat().st_mode & 0o777 == 0o660
        writer.close()

    run_with_worker(tmp_path, tcp(unix=str(tmp_path / "line.sock")), test)
    assert not (tmp_path / "line.sock").exists()


class Packets(UdpHandler):
    """Counts, and answers; `wait` until it may go on, `fail` as told."""

    seen: ClassVar[list[bytes]] = []
    gate: ClassVar[asyncio.Event]

    async def on_packet(self, packet: Packet) -> None:
        self.seen.append(packet.data)
        if packet.data == b"fail":
            raise LookupError("as told")
        if packet.data == b"exit":
            raise SystemExit(3)
        if packet.data == b"wait":
            await self.gate.wait()
        packet.reply(packet.data.upper())


def udp_client(worker: WebWorker) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", worker.port("shop.udp")))
    sock.setblocking(False)
    return sock


def with_packets(tmp_path: Path, test: Callable[[WebWorker], Any], **more: Any) -> None:
    Packets.seen.clear()

    async def run(worker: WebWorker) -> None:
        Packets.gate = asyncio.Event()
        await test(worker)

    run_with_worker(tmp_path, Plugin(sockets=[UdpListener(Packets, **more)]), run)


def test_packets_are_handled_and_answered_and_one_that_fails_costs_itself(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        loop = asyncio.get_running_loop()
        with udp_client(worker) as sock:
            for data in (b"fail", b"exit", b"", b"x" * 60_000):
                sock.send(data)
            assert await loop.sock_recv(sock, 65536) == b""
            assert await loop.sock_recv(sock, 65536) == b"X" * 60_000
        assert worker.metric("socket_frames_total", listener="shop.udp") == 4
        error = {"listener": "shop.udp", "reason": "error"}
        assert worker.metric("socket_closes_total", **error) == 2

    with_packets(tmp_path, test)


def test_a_worker_that_has_enough_leaves_packets_in_the_kernel(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        loop = asyncio.get_running_loop()
        with udp_client(worker) as sock:
            for _ in range(2):
                sock.send(b"wait")
            await wait_until_async(lambda: len(Packets.seen) == 2)
            for _ in range(50):
                sock.send(b"more")
            await asyncio.sleep(0)
            assert len(Packets.seen) == 2
            Packets.gate.set()
            for _ in range(52):
                await loop.sock_recv(sock, 100)
        assert len(Packets.seen) == 52

    with_packets(tmp_path, test, concurrency=2)


def test_what_was_taken_is_finished_in_the_drain_and_the_rest_stays(tmp_path: Path) -> None:
    async def test(worker: WebWorker) -> None:
        loop = asyncio.get_running_loop()
        with udp_client(worker) as sock:
            sock.send(b"wait")
            await wait_until_async(lambda: Packets.seen)
            ending = asyncio.create_task(worker.end())
            await asyncio.sleep(0)
            sock.send(b"late")
            Packets.gate.set()
            assert await loop.sock_recv(sock, 100) == b"WAIT"
            await ending
            # The next worker finds it in the socket
            descriptor = worker.listeners.descriptors(["shop.udp"], 7)[0]
            with socket.socket(fileno=descriptor) as inherited:
                assert inherited.recv(100) == b"late"
                inherited.detach()

    with_packets(tmp_path, test)


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("from the other port")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


def test_a_port_of_its_own_has_its_own_routes_and_websockets(tmp_path: Path) -> None:
    own = HttpListener([Route("/", hello), WebSocketRoute("/ws", echo)], name="own")

    async def test(worker: WebWorker) -> None:
        port = worker.port("shop.own")
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/")).text == "from the other port"
            assert (await http.get(f"http://127.0.0.1:{worker.port()}/")).status_code == 404
        async with connect(f"ws://127.0.0.1:{port}/ws") as websocket:
            await websocket.send("hi")
            assert await websocket.recv() == "hi"

    run_with_worker(tmp_path, Plugin(sockets=[own]), test)


def test_buffers_and_backlog_are_those_of_the_settings(tmp_path: Path) -> None:
    def waiting_room(worker: WebWorker, name: str) -> int:
        """Return how many may wait at a listener (tcp_info, whose field `sacked` says so there)."""
        (descriptor,) = worker.listeners.descriptors([name], 7)
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return int(struct.unpack_from("I", told, 28)[0])

    async def test(worker: WebWorker) -> None:
        assert waiting_room(worker, "http") == waiting_room(worker, "shop.tcp") == 77

    run_with_worker(tmp_path, tcp(), test, backlog=77)


def test_a_declaration_that_cannot_be_is_refused_where_it_is_written() -> None:
    with pytest.raises(PlatformError, match="port = 70000"):
        TcpListener(Recorder, port=70000)
    with pytest.raises(PlatformError, match="both port = 1 and unix"):
        TcpListener(Recorder, port=1, unix="/x")
