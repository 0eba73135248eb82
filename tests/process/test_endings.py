"""How requests and connections end, and what is counted of it, on real sockets."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skep.api.plugin import Plugin
from skep.metrics.exposition import render_text
from skep.metrics.frames import Framer
from skep.supervisor.metrics.ledger import Ledger
from tests.certificate import believing, certificate
from tests.support import wait_until_async
from tests.web_worker import WebWorker, run_with_worker
from tests.website import Connection, Website, request, run_website

pytestmark = pytest.mark.process
KB = 1024

Test = Callable[[Website, asyncio.Event], Awaitable[None]]
Run = Callable[..., None]


class Around(BaseHTTPMiddleware):
    """Runs what is inside of it in an asyncio task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


@pytest.fixture(params=["httptools", "h11"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test against a site whose handlers wait for the event."""

    def run(test: Test, *middleware: Middleware, **options: object) -> None:
        opened = asyncio.Event()

        async def wait(request: Request) -> Response:
            await opened.wait()
            return PlainTextResponse("done")

        async def echo(request: Request) -> Response:
            return PlainTextResponse(await request.body())

        async def endless(request: Request) -> Response:
            async def chunks() -> AsyncIterator[bytes]:
                while True:
                    yield b"x" * KB
                    await asyncio.sleep(0)

            return StreamingResponse(chunks())

        async def leave(request: Request) -> Response:
            raise SystemExit(3)

        def leave_thread(request: Request) -> Response:
            raise SystemExit(3)

        routes = [
            Route("/wait", wait),
            Route("/echo", echo, methods=["POST"]),
            Route("/endless", endless),
            Route("/leave", leave),
            Route("/leave-thread", leave_thread),
            Route('/odd"\\\n{name}', wait),
        ]

        async def tested(site: Website) -> None:
            await test(site, opened)

        run_website(Plugin(routes, middleware=middleware), tested, http=request.param, **options)

    return run


def reset(connection: Connection) -> None:
    """Go without a goodbye."""
    sock = connection.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.writer.transport.abort()


def gone(site: Website, route: str = "/wait") -> float:
    return site.value("http_requests_total", method="GET", route=route, status="499")


def aborted(site: Website, reason: str = "client") -> float:
    return site.value("http_requests_aborted_total", reason=reason)


async def waiting(site: Website) -> Connection:
    """A client whose request is being answered."""
    connection = await site.connect()
    await connection.send(request("/wait"))
    await wait_until_async(lambda: site.value("http_requests_in_progress", pool="web") == 1)
    return connection


async def closed_half(site: Website) -> None:
    """Wait until the worker knows that its only client sends no more."""
    protocol: Any = next(iter(site.kind._server.server_state.connections))
    await wait_until_async(lambda: protocol.cut_by)


@pytest.mark.parametrize("leave", [reset, lambda connection: connection.writer.close()])
def test_a_client_that_went_before_the_answer_is_499(
    run: Run, leave: Callable[[Connection], None]
) -> None:
    """A22: it was counted as 200. Who closes looks like who waits, until the answer is sent."""

    async def test(site: Website, opened: asyncio.Event) -> None:
        leave(await waiting(site))
        await closed_half(site)
        opened.set()
        await wait_until_async(lambda: gone(site) == 1)
        assert aborted(site) == 1
        assert site.value("http_requests_in_progress", pool="web") == 0
        assert site.value("http_requests_total", method="GET", route="/wait", status="200") == 0
        assert site.value("http_response_size_bytes_count", method="GET") == 1

    run(test)


def test_a_client_that_closed_only_its_half_and_reads_is_200(run: Run) -> None:
    """A22, the other side of it."""

    async def test(site: Website, opened: asyncio.Event) -> None:
        connection = await waiting(site)
        connection.writer.write_eof()
        await closed_half(site)
        opened.set()
        assert (await connection.ended()).endswith(b"\r\n\r\ndone")
        connection.writer.close()
        ok = {"method": "GET", "route": "/wait", "status": "200"}
        await wait_until_async(lambda: site.value("http_requests_total", **ok) == 1)
        assert (gone(site), aborted(site)) == (0, 0)

    run(test)


def test_a_client_that_goes_during_the_answer_keeps_its_status_and_is_aborted(run: Run) -> None:
    async def test(site: Website, opened: asyncio.Event) -> None:
        connection = await site.connect()
        await connection.send(request("/endless"))
        await connection.reader.readexactly(5000)
        reset(connection)
        await wait_until_async(lambda: aborted(site) == 1)
        ok = {"method": "GET", "route": "/endless", "status": "200"}
        assert site.value("http_requests_total", **ok) == 1
        assert site.value("http_response_size_bytes_sum", method="GET") > 4000

    run(test)


def test_a_body_that_stalls_is_aborted_by_a_timeout(run: Run) -> None:
    async def test(site: Website, opened: asyncio.Event) -> None:
        connection = await site.connect()
        await connection.send(request("/echo", "content-length: 8", method="POST") + b"abc")
        assert (await connection.answer()).status == 408
        await wait_until_async(lambda: aborted(site, "timeout") == 1)
        labels = {"method": "POST", "route": "/echo", "status": "408"}
        assert site.value("http_requests_total", **labels) == 1
        assert site.value("http_request_size_bytes_sum", method="POST") == 3
        assert aborted(site) == 0

    run(test, progress_timeout=0.5)


def test_a_client_that_takes_nothing_of_its_answer_is_aborted_by_a_timeout(run: Run) -> None:
    async def test(site: Website, opened: asyncio.Event) -> None:
        connection = await site.connect()
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(request("/endless"))
        await wait_until_async(lambda: aborted(site, "timeout") == 1)
        await wait_until_async(lambda: site.value("http_requests_in_progress", pool="web") == 0)
        assert aborted(site) == 0
        reset(connection)

    run(test, progress_timeout=0.5)


@pytest.mark.parametrize("middleware", [(), (Middleware(Around),)], ids=["bare", "wrapped"])
def test_a_handler_that_exits_is_500_and_counted(
    run: Run, middleware: tuple[Middleware, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A22: SystemExit is no Exception: it was not counted, and in a middleware's own task it ended
    the worker."""

    async def test(site: Website, opened: asyncio.Event) -> None:
        assert (await site.ask("/leave")).status == 500
        assert site.value("http_exceptions_total", route="/leave") == 1
        labels = {"method": "GET", "route": "/leave", "status": "500"}
        assert site.value("http_requests_total", **labels) == 1
        assert (await site.ask("/leave-thread")).status == 500
        assert site.value("http_exceptions_total", route="/leave-thread") == 1

    run(test, *middleware)
    assert "GET /leave failed" in caplog.text


def test_bodies_are_counted_as_they_travelled(run: Run) -> None:
    async def test(site: Website, opened: asyncio.Event) -> None:
        sizes = (0, 1, 100, 101, 64 * KB, 300 * KB)
        connection = await site.connect()
        for size in sizes:
            answer = await connection.ask("/echo", method="POST", body=b"x" * size)
            assert len(answer.body) == size
        await connection.send(request("/echo", "transfer-encoding: chunked", method="POST"))
        await connection.send(b"5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n")
        assert (await connection.answer()).body == b"abcdefgh"
        opened.set()
        await connection.send(request("/wait", method="HEAD"))
        assert (await connection.answer(head_only=True)).headers["content-length"] == "4"
        for name in ("http_request_size_bytes", "http_response_size_bytes"):
            assert site.value(f"{name}_sum", method="POST") == sum(sizes) + 8
            assert site.value(f"{name}_bucket", method="POST", le="100.0") == 4
            assert site.value(f"{name}_count", method="POST") == len(sizes) + 1
            assert site.value(f"{name}_sum", method="HEAD") == 0
            assert site.value(f"{name}_count", method="HEAD") == 1

    run(test)


def test_a_request_with_a_valid_trace_is_an_example_and_no_other(run: Run) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    given = (
        f"00-{trace}-00f067aa0ba902b7-01",
        "00-zz-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"ff-{'a' * 32}-00f067aa0ba902b7-01",
        f"00-{'b' * 32}-{'0' * 16}-01",
    )

    async def test(site: Website, opened: asyncio.Event) -> None:
        opened.set()
        for text in given:
            assert (await site.ask("/wait", f"traceparent: {text}")).status == 200
        samples = [sample for metric in site.registry.collect() for sample in metric.samples]
        examples = {s.exemplar.labels["trace_id"] for s in samples if s.exemplar}
        assert examples == {trace}

    run(test)


def test_ten_thousand_paths_are_one_series_and_odd_templates_are_escaped(run: Run) -> None:
    """Metrics, cases 33 and 34: a client chooses the path, and an author any template."""
    paths = [f"/{number}/%22%5C%0A" for number in range(10_000)]
    odd = '/odd"\\\n{name}'

    async def test(site: Website, opened: asyncio.Event) -> None:
        opened.set()
        connection = await site.connect()
        reading = asyncio.create_task(connection.ended())
        await connection.send(b"".join(map(request, paths)))
        await connection.send(request("/odd%22%5C%0Aname", "connection: close"))
        assert (await reading).endswith(b"done")
        ledger = Ledger()
        ledger.absorb("web.0@1", json.loads(json.dumps(Framer(site.registry).next())))
        counted = {
            (sample.labels["route"], sample.labels["status"]): sample.value
            for family in text_string_to_metric_families(render_text(ledger.families()))
            for sample in family.samples
            if sample.name == "platform_http_requests_total"
        }
        assert counted == {("__unmatched__", "404"): 10_000, (odd, "200"): 1}

    run(test)


def test_connections_are_counted_by_what_became_of_them(run: Run) -> None:
    async def test(site: Website, opened: asyncio.Event) -> None:
        first, second = await site.connect(), await site.connect()
        opened.set()
        for connection in (first, second):
            assert (await connection.ask("/wait")).status == 200
        crowd = await site.connect()
        await crowd.send(request("/wait"))
        assert b" 503 " in await crowd.ended()
        counted = [
            site.value("http_connections_opened_total", outcome=outcome)
            for outcome in ("accepted", "rejected", "tls_error")
        ]
        assert counted == [2, 1, 0]
        assert site.value("http_accept_queue_seconds_count") == 3

    run(test, max_connections=2)


def test_the_wait_in_the_accept_queue_is_seen_whatever_the_client_sent_meanwhile(run: Run) -> None:
    """While a handler keeps the event loop busy, nobody is taken from the queue."""

    async def test(site: Website, opened: asyncio.Event) -> None:
        opened.set()
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(request("/wait")[:10])
            asyncio.get_running_loop().call_soon(_busy, client)
            await wait_until_async(lambda: site.value("http_accept_queue_seconds_count") == 1)
            assert 0.25 <= site.value("http_accept_queue_seconds_sum") < 5

    def _busy(client: socket.socket) -> None:
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(request("/wait")[10:])

    run(test)


def test_a_failed_handshake_is_a_tls_error(tmp_path: Path) -> None:
    certificate(tmp_path, "shop.test")

    async def test(worker: WebWorker) -> None:
        def count(outcome: str) -> float:
            return worker.metric("http_connections_opened_total", outcome=outcome)

        for context in (ssl.create_default_context(), None, believing(tmp_path)):
            try:
                _, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    worker.port(),
                    ssl=context,
                    server_hostname="localhost" if context else None,
                )
            except ssl.SSLError:
                continue
            if context is None:  # somebody who speaks no TLS
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
            else:
                await wait_until_async(lambda: count("accepted") == 1)
            writer.close()
        await wait_until_async(lambda: count("tls_error") == 2)
        assert worker.metric("http_accept_queue_seconds_count") == 0

    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    run_with_worker(tmp_path, Plugin(), test, **files)
