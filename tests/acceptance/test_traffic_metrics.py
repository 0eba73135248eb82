"""What travels is counted as clients count it: HTTP, WebSockets, TCP and UDP."""

import asyncio
import contextlib
import http.client
import socket
import struct
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.certificate import certificate
from tests.platform_process import Platform
from tests.raw_websocket import CLOSE, TEXT, RawWebSocket
from tests.support import wait_until

SITE = """
import asyncio
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from skep import (HttpListener, Plugin, TcpHandler, TcpListener, UdpHandler, UdpListener,
                  WebSocketHandler)

async def echo(request):
    return PlainTextResponse(2 * await request.body())

async def late(request):
    await asyncio.sleep(1)
    return PlainTextResponse("late")

async def leave(request):
    raise SystemExit(1)

async def endless(request):
    async def chunks():
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.05)
    return StreamingResponse(chunks())

class Room(WebSocketHandler):
    async def on_message(self, connection, message):
        while message == "flood":
            await connection.send("x" * 100_000)
        await connection.send(message + message)

class Lines(TcpHandler):
    async def on_receive(self, connection, frame):
        await connection.send(frame)

class Packets(UdpHandler):
    async def on_packet(self, packet):
        packet.reply(packet.data * 2)

plugin = Plugin(
    routes=[
        Route("/echo/{name}", echo, methods=["PUT", "POST"]),
        Route("/late", late),
        Route("/leave", leave),
        Route("/endless", endless),
        WebSocketRoute("/room/{name}", Room),
    ],
    sockets=[
        TcpListener(Lines, port=0, name="lines"),
        UdpListener(Packets, name="packets"),
        HttpListener([Route("/late", late)], name="own", tls_cert="cert.pem", tls_key="key.pem"),
    ],
)
"""
SIZES = (0, 1, 100, 101, 5_000, 70_000, 300_000)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PREFIX = "platform_"


@pytest.fixture
def site(platform: Platform) -> Platform:
    certificate(platform.directory, "shop.test")
    (platform.plugins / "site.py").write_text(SITE)
    platform.environment |= {"PLATFORM_PROGRESS_TIMEOUT": "3", "PLATFORM_DRAIN_TIMEOUT": "3"}
    return platform.start()


class Page:
    """What /metrics says."""

    def __init__(self, site: Platform) -> None:
        self._site = site

    def total(self, sample: str, /, **labels: str) -> float:
        """The sum of all samples of this name that carry these labels."""
        return sum(
            found.value
            for family in text_string_to_metric_families(self._site.metrics())
            for found in family.samples
            if found.name == PREFIX + sample and labels.items() <= found.labels.items()
        )

    def becomes(self, value: float, sample: str, /, **labels: str) -> None:
        """Wait until the sum is this value."""
        wait_until(lambda: self.total(sample, **labels) == value)


def address(site: Platform, listener: str = "http") -> tuple[str, int]:
    return "127.0.0.1", int(site.status()["listeners"][listener].rpartition(":")[2])


@contextlib.contextmanager
def client(site: Platform, said: bytes, listener: str = "http") -> Iterator[socket.socket]:
    with socket.create_connection(address(site, listener)) as sock:
        sock.settimeout(30)
        sock.sendall(said)
        yield sock


def reset(sock: socket.socket) -> None:
    """Close without a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_requests_and_connections_are_what_clients_counted(site: Platform) -> None:
    """Metrics, case 31."""
    page, sent, received, answers = Page(site), Counter[str](), Counter[str](), Counter[str]()
    connections = 3
    for _ in range(connections):
        connection = http.client.HTTPConnection(*address(site))
        for method in ("PUT", "POST"):
            for number, size in enumerate(SIZES):
                headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if number == 3 else {}
                connection.request(method, f"/echo/{number}", b"x" * size, headers)
                sent[method] += size
                received[method] += len(connection.getresponse().read())
                answers[method] += 1
        connection.close()
    for method in ("PUT", "POST"):
        labels = {"method": method}
        page.becomes(answers[method], "http_request_size_bytes_count", **labels)
        assert page.total("http_request_size_bytes_sum", **labels) == sent[method]
        assert page.total("http_response_size_bytes_sum", **labels) == received[method]
        assert page.total("http_response_size_bytes_bucket", le="100.0", **labels) == 6
    page.becomes(connections, "http_connections_opened_total", outcome="accepted")
    assert page.total("http_accept_queue_seconds_count") == connections
    wanted = {"Accept": "application/openmetrics-text"}
    openmetrics = httpx.get(f"{site.admin}/metrics", headers=wanted).text
    assert f'# {{trace_id="{TRACE}"}}' in openmetrics


def test_who_gets_no_whole_answer_is_counted_by_who_ended_it(site: Platform) -> None:
    """A22."""
    page = Page(site)
    for leave in (reset, lambda sock: None):
        with client(site, b"GET /late HTTP/1.1\r\nhost: x\r\n\r\n") as sock:
            page.becomes(1, "http_requests_in_progress")
            leave(sock)
        page.becomes(0, "http_requests_in_progress")
    assert page.total("http_requests_total", route="/late", status="499") == 2
    assert page.total("http_requests_total", route="/late") == 2
    assert page.total("http_requests_aborted_total", reason="client") == 2
    with client(site, b"POST /echo/a HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab") as sock:
        assert b" 408 " in sock.recv(1000)
    page.becomes(1, "http_requests_aborted_total", reason="timeout")
    assert page.total("http_requests_total", method="POST", status="408") == 1
    with client(site, b"GET /leave HTTP/1.1\r\nhost: x\r\n\r\n") as sock:
        assert b" 500 " in sock.recv(1000)
    page.becomes(1, "http_exceptions_total", route="/leave")
    with client(site, b"GET /late HTTP/1.1\r\n\r\n", "site.own") as sock:
        while sock.recv(1000):
            pass
    page.becomes(1, "http_connections_opened_total", outcome="tls_error")
    with client(site, b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n") as sock:
        assert b" 200 " in sock.recv(1000)
        assert site.cli("reload").returncode == 0
        while sock.recv(10_000):
            pass
    page.becomes(1, "http_requests_aborted_total", reason="drain")
    assert page.total("http_requests_aborted_total") == 4


def test_websockets_are_what_clients_counted_by_route(site: Platform) -> None:
    page, route = Page(site), {"route": "/room/{name}"}
    texts = ["", "a", "ä" * 100, "x" * 126, "y" * 70_000]
    # Zero before the first: `increase()` has to see that one too
    assert f'{PREFIX}websocket_opens_total{{route="/room/{{name}}"}} 0' in site.metrics()

    async def talk() -> int:
        got = 0
        for name in ("ann", "bob"):
            websocket = await RawWebSocket.connect(address(site)[1], f"/room/{name}")
            for text in texts:
                await websocket.send(websocket.frame(TEXT, text.encode()))
                frame = await websocket.read()
                assert frame is not None
                got += len(frame[1])
            await websocket.send(websocket.frame(CLOSE, struct.pack("!H", 1000)))
            await websocket.rest()
        return got

    got = asyncio.run(talk())
    page.becomes(2, "websocket_closes_total", code="1000", **route)
    assert got == 4 * sum(len(text.encode()) for text in texts)
    assert page.total("websocket_opens_total", **route) == 2
    assert page.total("websocket_message_bytes_total", direction="out", **route) == got
    assert page.total("websocket_message_bytes_total", direction="in", **route) == got / 2
    for direction in ("in", "out"):
        number = page.total("websocket_messages_total", direction=direction, **route)
        assert number == 2 * len(texts)
    assert page.total("websocket_connection_duration_seconds_count", **route) == 2
    page.becomes(0, "websocket_connections", **route)

    def look() -> None:
        wait_until(lambda: page.total("websocket_send_queue_messages", **route) > 1)
        assert page.total("websocket_connections", **route) == 1

    async def flood() -> None:
        websocket = await RawWebSocket.connect(address(site)[1], "/room/slow")
        websocket.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await websocket.send(websocket.frame(TEXT, b"flood"))
        await asyncio.to_thread(look)
        websocket.writer.transport.abort()

    asyncio.run(flood())
    page.becomes(0, "websocket_send_queue_messages", **route)


def test_bytes_of_sockets_are_what_clients_counted_by_listener(site: Platform) -> None:
    page, lines = Page(site), b"one\ntwo\nthree\n"
    with client(site, lines, "site.lines") as sock:
        got = b""
        while len(got) < len(lines):
            got += sock.recv(100)
    for direction in ("in", "out"):
        page.becomes(14, "socket_bytes_total", listener="site.lines", direction=direction)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(b"packet", address(site, "site.packets"))
        assert sock.recv(100) == b"packetpacket"
    page.becomes(6, "socket_bytes_total", listener="site.packets", direction="in")
    page.becomes(12, "socket_bytes_total", listener="site.packets", direction="out")
    assert page.total("socket_frames_total", listener="site.packets") == 1
