"""What one connection may cost a web worker over time, through both parsers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from skep import Plugin
from skep.worker.websocket.connection import WebSocketProtocol
from tests.process.http_payloads import KEY, VERSION, chunked, shake
from tests.raw_websocket import BINARY, PING, TEXT, RawWebSocket, close_of
from tests.support import wait_until_async
from tests.website import Connection, Website, request, run_website

KB = 1024
Run = Callable[..., None]


class Gate:
    """Answers when it is opened; counts who has asked."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        self.left = 0

    async def wait(self, request: Request) -> PlainTextResponse:
        self.asked += 1
        await self.opened.wait()
        return PlainTextResponse(request.query_params.get("n", ""))

    async def stream(self, request: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            await self.opened.wait()
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                self.left += 1

        return StreamingResponse(chunks())

    async def size(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def pieces(self, request: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        return StreamingResponse(chunks())

    async def listen(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await self.opened.wait()
        with contextlib.suppress(Exception):
            while True:
                await websocket.receive()
                self.asked += 1

    async def bad(self, request: Request) -> PlainTextResponse:
        response = PlainTextResponse("never")
        response.raw_headers.append(BAD_HEADERS[int(request.query_params["n"])])
        return response

    async def bad_handshake(self, websocket: WebSocket) -> None:
        if websocket.url.query == "True":
            await websocket.accept(headers=[BAD_HEADERS[0]])
        else:
            denial = PlainTextResponse("no", status_code=403)
            denial.raw_headers.append(BAD_HEADERS[0])
            await websocket.send_denial_response(denial)

    def plugin(self) -> Plugin:
        return Plugin(
            routes=[
                Route("/wait", self.wait),
                Route("/stream", self.stream),
                Route("/size", self.size, methods=["POST"]),
                Route("/pieces", self.pieces),
                Route("/bad", self.bad),
                WebSocketRoute("/ws", self.listen),
                WebSocketRoute("/bad-ws", self.bad_handshake),
            ]
        )


def run_gate(test: Callable[..., Awaitable[None]], **options: Any) -> None:
    """Run a test against the routes of a gate."""
    gate = Gate()
    run_website(gate.plugin(), partial(test, gate=gate), **options)


@pytest.fixture(params=["httptools", "h11"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test against the routes of a gate, through one of the parsers."""
    return partial(run_gate, http=request.param)


def only(site: Website) -> Any:
    """Return the worker's end of the only connection."""
    (protocol,) = site.kind._server.server_state.connections
    return protocol


async def pour(connection: Connection, data: bytes) -> int:
    """Send as much of this as the other side takes; return how much is left."""
    transport = connection.writer.transport
    connection.writer.write(data)
    left = [transport.get_write_buffer_size()]

    async def stands_still() -> bool:
        left.append(transport.get_write_buffer_size())
        return len(left) > 5 and len(set(left[-5:])) == 1

    await wait_until_async(stands_still, interval=0.05)
    return left[-1]


def test_pipelined_requests_are_neither_begun_nor_read_before_the_answer_is_out(run: Run) -> None:
    """E5: a client that pipelines without end costs no more than one that does not."""

    async def test(site: Website, gate: Gate) -> None:
        connection, size = await site.connect(), 24 * KB * KB
        one = request("/wait?n=1")
        left = await pour(connection, one * (size // len(one)))
        assert gate.asked == 1
        protocol = only(site)
        assert len(protocol._rest) <= 512 * KB  # one read
        # The rest is in the buffers of the kernel and of the client
        assert left > size // 4
        gate.opened.set()
        for _ in range(500):
            assert (await connection.answer()).body == b"1"
        assert (await site.ask("/wait")).status == 200

    run(test)


def test_a_client_that_pipelines_is_not_read_while_the_application_looks_for_it(run: Run) -> None:
    """E5: nor does an application that waits for the end of the connection change that."""

    async def test(site: Website, gate: Gate) -> None:
        connection, size = await site.connect(), 24 * KB * KB
        gate.opened.set()
        one = request("/stream")
        left = await pour(connection, one * (size // len(one)))
        protocol = only(site)
        assert len(protocol._rest) <= 512 * KB
        assert left > size // 4

    run(test)


def test_trailers_without_an_end_are_refused(run: Run) -> None:
    """E6: trailers count as a part of the head."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(chunked(b"3\r\nabc\r\n0\r\n").replace(b"/a", b"/size"))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50 * KB * KB:
                await connection.send(b"x-a: " + b"b" * 4000 + b"\r\n")
                sent += 4007
        assert sent < 20 * KB * KB
        assert site.refused("headers") == 1
        assert (await site.ask("/pieces")).status == 200

    run(test)


def test_trailers_are_dropped_and_counted(run: Run) -> None:
    """E1: an operator sees that clients send fields that no plugin gets."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        body = b"3\r\nabc\r\n0\r\nx-a: b\r\nx-c: d\r\n\r\n"
        await connection.send(chunked(body).replace(b"/a", b"/size"))
        assert (await connection.answer()).body == b"3"
        assert site.value("http_trailers_dropped_total") == 2

    run(test)


BAD_HEADERS: list[tuple[Any, Any]] = [
    (b"x-note", b"a\r\nset-cookie: evil=1"),
    (b"x-note", b"a\nb"),
    (b"x-note", b"a\0b"),
    (b"x\r\nnote", b"a"),
    ("x-note", "text"),
]


def test_an_answer_whose_head_cannot_be_sent_is_a_logged_500(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """D24: the client gets an answer, the log names the header, and the metrics count the 500."""

    async def test(site: Website, gate: Gate) -> None:
        for number in range(4):
            connection = await site.connect()
            await connection.send(request(f"/bad?n={number}"))
            answer = await connection.answer()
            assert (answer.status, answer.headers["connection"]) == (500, "close")
            assert answer.headers["x-request-id"]
            assert "set-cookie" not in answer.headers
            assert await connection.ended() == b""
        labels = {"method": "GET", "route": "/bad", "status": "500"}
        assert site.value("http_requests_total", **labels) == 4
        assert (await site.ask("/bad?n=0", method="HEAD")).status == 500
        assert (await site.ask("/pieces")).status == 200

    run(test)
    assert "GET /bad failed: the answer's header b'x-note' has a line break" in caplog.text


def test_a_header_that_is_not_bytes_is_a_logged_500(caplog: pytest.LogCaptureFixture) -> None:
    """D24: httptools' writer takes no text, which h11's does."""

    async def test(site: Website, gate: Gate) -> None:
        assert (await site.ask("/bad?n=4")).status == 500

    run_gate(test)
    assert "the answer's header 'x-note' is not bytes" in caplog.text


@pytest.mark.parametrize("accepts", [True, False])
def test_a_handshake_whose_answer_cannot_be_sent_is_a_logged_500(
    run: Run, caplog: pytest.LogCaptureFixture, accepts: bool
) -> None:
    """D24: the application's own headers of a 101 or a 403 are checked too."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(shake(KEY, VERSION).replace(b"/ws", f"/bad-ws?{accepts}".encode()))
        answer = await connection.answer()
        assert answer.status == 500
        assert "set-cookie" not in answer.headers

    run(test)
    assert "The header b'x-note' has a line break" in caplog.text


def test_who_closes_one_half_and_then_goes_is_noticed(run: Run) -> None:
    """E11: a stream ends although the client had closed its half before."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(request("/stream"))
        connection.writer.write_eof()
        await wait_until_async(lambda: site.kind._server.server_state.tasks)
        protocol = only(site)
        await wait_until_async(lambda: protocol.half_closed)
        connection.writer.transport.abort()
        gate.opened.set()
        await wait_until_async(lambda: gate.left == 1)

    run(test)


def test_who_closes_one_half_and_gets_no_answer_in_time_is_given_up(run: Run) -> None:
    """E11: a client that has gone looks the same, so there is a deadline."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(request("/wait"))
        connection.writer.write_eof()
        assert await connection.ended() == b""
        gate.opened.set()

    run(test, progress_timeout=1.0)


def test_an_answer_without_a_length_to_http_1_0_lasts_until_the_connection_ends(run: Run) -> None:
    """E12: HTTP/1.0 knows no chunks."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = await connection.answer(head_only=True)
        assert "transfer-encoding" not in head.headers
        assert head.headers["connection"] == "close"
        assert await connection.ended() == b"one two"

    run(test)


def test_our_own_answers_have_a_date(run: Run) -> None:
    """E20: RFC 9110, 6.6.1."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        await connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert "date" in (await connection.answer()).headers

    run(test)


async def open_websocket(site: Website) -> tuple[Connection, WebSocketProtocol]:
    """Open a WebSocket; return both ends."""
    connection = await site.connect()
    await connection.send(shake(KEY, VERSION))
    assert (await connection.answer(head_only=True)).status == 101
    return connection, next(
        protocol
        for protocol in site.kind._server.server_state.connections
        if isinstance(protocol, WebSocketProtocol)
    )


def test_who_sends_pings_and_does_not_read_the_answers_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E9: the limit for what is not sent yet holds for pongs too."""
    monkeypatch.setattr("skep.worker.websocket.connection._MOST_LIGHT_FRAMES", 10**9)
    monkeypatch.setattr("skep.worker.websocket.connection._CLOSING", 0.1)
    limit, most = 64 * KB, [0]

    async def test(site: Website, gate: Gate) -> None:
        connection, protocol = await open_websocket(site)
        connection.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        )
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        pings = RawWebSocket(connection.reader, connection.writer).frame(PING, b"p" * 125) * 500
        with contextlib.suppress(ConnectionError):
            while not protocol.transport.is_closing():
                await connection.send(pings)
                most[0] = max(most[0], protocol.transport.get_write_buffer_size())
        assert most[0] < limit + 64 * KB
        await wait_until_async(
            lambda: site.value("websocket_closes_total", route="/ws", code="1013") == 1
        )

    run_gate(test, websocket_send_limit=limit)


def test_messages_wait_in_the_socket_until_the_application_takes_them() -> None:
    """E9: a flood of small messages is not unpacked before there is a use for it."""

    async def test(site: Website, gate: Gate) -> None:
        connection, protocol = await open_websocket(site)
        small = RawWebSocket(connection.reader, connection.writer).frame(TEXT, b"a")
        await pour(connection, small * 20_000)
        assert protocol.queue.qsize() < 1000
        gate.opened.set()
        await wait_until_async(lambda: gate.asked == 20_000)

    run_gate(test)


def test_a_message_of_many_fragments_takes_no_more_than_its_size() -> None:
    """E9: fragments are joined as they come."""

    async def test(site: Website, gate: Gate) -> None:
        connection, protocol = await open_websocket(site)
        socket = RawWebSocket(connection.reader, connection.writer)
        await connection.send(socket.frame(BINARY, b"a", fin=False))
        await connection.send(socket.frame(0, b"b", fin=False) * 50_000)
        await wait_until_async(lambda: protocol.frames and len(protocol.frames[0]) == 50_001)
        assert len(protocol.frames) == 1
        # Others have their turn in between
        assert (await site.ask("/pieces")).status == 200
        await connection.send(socket.frame(0, b"\xff"))
        gate.opened.set()
        await wait_until_async(lambda: gate.asked == 1)

    run_gate(test)


def test_a_handler_that_does_not_answer_the_handshake_is_not_waited_for() -> None:
    """D5: from the first byte to the end of the handshake there is a deadline."""

    async def silent(websocket: WebSocket) -> None:
        await asyncio.Event().wait()

    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(shake(KEY, VERSION))
        assert (await connection.answer()).status == 503
        assert await connection.ended() == b""
        assert site.value("websocket_refusals_total", reason="application") == 1

    run_website(Plugin([WebSocketRoute("/ws", silent)]), test, progress_timeout=0.5)


def test_frames_that_come_before_the_answer_to_the_handshake_wait_for_it() -> None:
    """D5: a pong does not come before the 101."""

    async def test(site: Website, gate: Gate) -> None:
        connection = await site.connect()
        socket = RawWebSocket(connection.reader, connection.writer)
        await connection.send(shake(KEY, VERSION) + socket.frame(PING, b"p"))
        assert (await connection.answer(head_only=True)).status == 101
        assert await socket.read() == (10, b"p")
        await connection.send(socket.frame(8))
        assert close_of(await socket.rest()) == 1005

    run_gate(test)
