"""What a client may cost a web worker: on real sockets, through both of uvicorn's parsers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from skep import Plugin
from tests.support import wait_until_async
from tests.website import Website, request, run_website

KB = 1024
Run = Callable[..., None]


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"hello": "bee"})


async def echo_size(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def headers(request: Request) -> JSONResponse:
    client = request.client
    seen = {"client": client.host if client else "", "scheme": request.url.scheme}
    return JSONResponse({**dict(request.headers), **seen})


async def torrent(request: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 64 * KB

    return StreamingResponse(chunks())


async def slowly(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.2)
    return PlainTextResponse(request.query_params.get("n", ""))


async def deaf(request: Request) -> PlainTextResponse:
    return PlainTextResponse("not interested")


async def heavy(request: Request) -> Response:
    return Response(b"x" * 20 * KB * KB)


async def hop(request: Request) -> Response:
    return Response(headers={"keep-alive": "timeout=5", "upgrade": "h2c", "te": "x", "x-own": "1"})


PLUGIN = Plugin(
    routes=[
        Route("/", hello),
        Route("/size", echo_size, methods=["POST"]),
        Route("/large", echo_size, methods=["POST"], max_body_size=200 * KB),
        Route("/small", echo_size, methods=["POST"], max_body_size=10),
        Route("/headers", headers),
        Route("/torrent", torrent),
        Route("/slowly", slowly),
        Route("/deaf", deaf, methods=["POST"]),
        Route("/heavy", heavy, methods=["POST"]),
        Route("/hop", hop),
    ]
)


@pytest.fixture(params=["httptools", "h11"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test against the plugin, served through one of the parsers."""
    return partial(run_website, PLUGIN, http=request.param)


def test_a_silent_client_and_one_that_never_ends_its_head_have_to_go(run: Run) -> None:
    async def test(site: Website) -> None:
        silent, partial, dribbling = [await site.connect() for _ in range(3)]
        await partial.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
        await dribbling.send(b"\r\n")
        assert await silent.ended() == b""
        assert (await partial.answer()).status == 408
        assert (await dribbling.answer()).status == 408
        assert site.refused("header_timeout") == 3
        assert (await site.ask("/")).status == 200

    run(test, header_timeout=1.0)


def test_a_kept_connection_is_closed_when_it_is_not_used_again(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        for _ in range(3):
            assert (await connection.ask("/")).status == 200
        assert await connection.ended() == b""
        assert sum(site.refused(reason) for reason in ("header_timeout", "stalled")) == 0

    run(test, keep_alive=1.0)


@pytest.mark.parametrize(
    "head",
    [
        b"x: " + b"y" * 70 * KB + b"\r\n\r\n",
        b"".join(b"x%d: y\r\n" % n for n in range(101)) + b"\r\n",
        b"".join(b"x%d: y\r\n" % n for n in range(200_000)) + b"\r\n",
    ],
    ids=["70 KB", "101 headers", "200 000 headers"],
)
def test_a_head_that_is_too_large_is_431(run: Run, head: bytes) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        with contextlib.suppress(ConnectionError):
            await connection.send(b"GET / HTTP/1.1\r\nhost: x\r\n", head)
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert site.refused("headers") == 1
        assert (await site.ask("/")).status == 200

    run(test)


def test_a_header_of_50_mb_is_cut_off_long_before_its_end(run: Run) -> None:
    async def test(site: Website) -> None:
        connection, sent = await site.connect(), 0
        with contextlib.suppress(ConnectionError):
            await connection.send(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
            for _ in range(50 * 16):
                await connection.send(b"y" * 64 * KB)
                sent += 64 * KB
        assert sent < 30 * KB * KB
        assert site.refused("headers") == 1
        assert (await site.ask("/")).status == 200

    run(test)


def test_a_head_that_comes_in_many_pieces_is_counted_too(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(80):
                await connection.send(b"x%d: " % number + b"y" * KB + b"\r\n")
        assert (await connection.answer()).status == 431

    run(test)


def test_what_is_just_within_the_limits_is_served(run: Run) -> None:
    async def test(site: Website) -> None:
        many = [f"x{n}: y" for n in range(99)]
        assert (await site.ask("/", *many)).status == 200
        assert (await site.ask("/", "x: " + "y" * 64000)).status == 200
        # A head behind a body in one segment is not blamed for the body.
        connection = await site.connect()
        first = request("/size", method="POST", body=b"z" * 60 * KB)
        second = request("/", "x: " + "y" * 20 * KB)
        await connection.send(first + second[:100])
        await connection.send(second[100:])
        assert [(await connection.answer()).body, (await connection.answer()).status] == [
            b"61440",
            200,
        ]

    run(test)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/size", 100, 200), ("/size", 101, 413), ("/large", 101, 200), ("/small", 11, 413)],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(
    run: Run, path: str, size: int, status: int, chunked: bool
) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        body = b"z" * size
        if chunked:
            head = request(path, "transfer-encoding: chunked", method="POST")
            await connection.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body))
        else:
            await connection.send(request(path, method="POST", body=body))
        assert (await connection.answer()).status == status
        # The connection is good for another request: the body was read and thrown away.
        assert (await connection.ask("/")).status == 200

    run(test, max_body_size=100)


def test_413_comes_before_the_body_and_who_goes_on_sending_is_cut_off(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        head = request("/size", "content-length: 50000000", method="POST")
        await connection.send(head)
        assert (await connection.answer()).status == 413
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                await connection.send(b"z" * 64 * KB)
            await connection.ended()
        assert site.refused("body") == 1

    run(test, max_body_size=100 * KB)


def test_who_is_one_byte_over_the_limit_can_go_on_with_its_connection(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        body = b"z" * (100 * KB + 1)
        # However often: LEAVE_BYTES is for each of them
        for _ in range(15):
            assert (await connection.ask("/size", method="POST", body=body)).status == 413
        assert (await connection.ask("/")).status == 200

    run(test, max_body_size=100 * KB)


def test_the_last_answer_of_a_connection_reaches_who_is_still_sending(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        assert (await connection.ask("/")).status == 200
        site.kind.retire()
        await connection.send(request("/deaf", f"content-length: {400 * KB}", method="POST"))
        answered = {"method": "POST", "route": "/deaf", "status": "200"}
        await wait_until_async(lambda: site.value("http_requests_total", **answered))
        for _ in range(8):
            await connection.send(b"z" * 50 * KB)
            await asyncio.sleep(0)
        answer = await connection.answer()
        assert (answer.body, answer.headers["connection"]) == (b"not interested", "close")
        assert await connection.ended() == b""

    run(test)


def test_it_reaches_them_also_when_they_take_their_time_to_read_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skep.worker.http.limits.LEAVE_SECONDS", 0.2)

    async def test(site: Website) -> None:
        connection = await site.connect()
        assert (await connection.ask("/")).status == 200
        site.kind.retire()
        await connection.send(request("/heavy", f"content-length: {400 * KB}", method="POST"))
        answered = {"method": "POST", "route": "/heavy", "status": "200"}
        await wait_until_async(lambda: site.value("http_requests_total", **answered))
        until = asyncio.get_running_loop().time() + 1.3
        await wait_until_async(lambda: asyncio.get_running_loop().time() > until)
        assert len((await connection.answer()).body) == 20 * KB * KB

    run(test)


def test_no_request_is_begun_behind_the_last_answer_of_a_connection(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        behind = request("/deaf", f"content-length: {400 * KB}", method="POST")
        await connection.send(request("/slowly?n=1") + behind + b"z")
        await wait_until_async(lambda: site.kind._server.server_state.tasks)
        site.kind.retire()
        assert (await connection.answer()).headers["connection"] == "close"
        assert await connection.ended() == b""
        begun = {"method": "POST", "route": "/deaf", "status": "200"}
        assert site.value("http_requests_total", **begun) == 0

    run(test)


def test_also_who_sends_as_much_as_a_body_may_have(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        assert (await connection.ask("/")).status == 200
        site.kind.retire()
        size = 8 * KB * KB
        await connection.send(request("/deaf", f"content-length: {size}", method="POST"))
        answered = {"method": "POST", "route": "/deaf", "status": "200"}
        await wait_until_async(lambda: site.value("http_requests_total", **answered))
        for _ in range(size // (64 * KB)):
            await connection.send(b"z" * 64 * KB)
        assert (await connection.answer()).body == b"not interested"

    run(test)


def test_whoever_asks_before_sending_a_body_is_told_413_and_never_to_continue(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(
            request("/size", "expect: 100-continue", "content-length: 101", method="POST")
        )
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await connection.ended() == b""

    run(test, max_body_size=100)


def test_whoever_asks_before_sending_a_body_may_send_it_and_only_the_answer_has_the_name(
    run: Run,
) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        headers = ("expect: 100-continue", "content-length: 3", "x-request-id: r1")
        await connection.send(request("/size", *headers, method="POST"))
        interim = await connection.answer()
        assert (interim.status, interim.headers, interim.body) == (100, {}, b"")
        await connection.send(b"abc")
        answer = await connection.answer()
        assert (answer.status, answer.body) == (200, b"3")
        assert answer.headers["x-request-id"] == "r1"

    run(test)


def test_a_body_that_stalls_is_408_but_a_slow_one_is_not(run: Run) -> None:
    async def test(site: Website) -> None:
        stalled, slow = await site.connect(), await site.connect()
        began = asyncio.get_running_loop().time()
        for connection in (stalled, slow):
            await connection.send(request("/size", "content-length: 8", method="POST") + b"a")
        loop = asyncio.get_running_loop()
        for number in range(1, 8):
            due = began + number * 0.5
            await wait_until_async(lambda due=due: loop.time() > due)  # type: ignore[misc]
            await slow.send(b"b")
        assert (await slow.answer()).body == b"8"
        assert (await stalled.answer()).status == 408
        assert site.refused("stalled") == 1
        await wait_until_async(
            lambda: site.value("http_requests_total", method="POST", route="/size", status="408")
        )

    run(test, progress_timeout=2.0)


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        transport = connection.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(request("/torrent"))
        await wait_until_async(lambda: site.refused("slow_reader") == 1)
        assert (await site.ask("/")).status == 200

    run(test, progress_timeout=0.5)


def test_connections_beyond_the_limit_are_asked_to_come_again(run: Run) -> None:
    async def test(site: Website) -> None:
        kept = [await site.connect() for _ in range(3)]
        for connection in kept:
            assert (await connection.ask("/")).status == 200
        answer = await site.ask("/")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert site.refused("connections") == 1
        # Those within it are served meanwhile, and a place that is free is given away.
        assert (await kept[0].ask("/")).status == 200
        kept[1].writer.close()
        await wait_until_async(lambda: site.value("http_connections", state="idle") < 3)
        assert (await site.ask("/")).status == 200

    run(test, max_connections=3)


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/x.9\r\n\r\n", b"G\xffT / HTTP/1.1\r\n\r\n",
     b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n",
     b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
     b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
     b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_400_and_the_worker_goes_on(run: Run, garbage: bytes) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(garbage)
        assert (await connection.answer()).status == 400
        assert await connection.ended() == b""
        assert site.refused("malformed") == 1
        assert (await site.ask("/")).status == 200

    run(test)


def test_an_upgrade_that_we_do_not_know_is_as_if_it_had_not_been_offered(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        offer = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk")
        # Java's client offers it with its first request, whatever that is
        post = request("/size", *offer, method="POST", body=b"abc")
        await connection.send(post + request("/headers", *offer) + post[:-2])
        assert (await connection.answer()).body == b"3"
        seen = (await connection.answer()).body
        assert b"http2-settings" in seen
        await connection.send(post[-2:])
        assert (await connection.answer()).body == b"3"
        chunked = request("/size", *offer, "transfer-encoding: chunked", method="POST")
        await connection.send(chunked + b"2\r\nab\r\n0\r\n\r\n")
        assert (await connection.answer()).body == b"2"
        assert (await connection.ask("/")).status == 200

    run(test)


def test_garbage_behind_good_requests_does_not_cost_them_their_answers(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        two = request("/slowly?n=1") + request("/slowly?n=2")
        await connection.send(two + b"\x00garbage\r\n\r\n")
        assert [(await connection.answer()).body for _ in range(2)] == [b"1", b"2"]
        assert (await connection.answer()).status == 400
        assert await connection.ended() == b""

    run(test)


def test_pipelined_requests_are_answered_in_order(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(b"".join(request(f"/slowly?n={n}") for n in range(4)))
        assert [(await connection.answer()).body for _ in range(4)] == [b"0", b"1", b"2", b"3"]
        assert (await connection.ask("/")).status == 200

    run(test)


def test_a_handler_that_does_not_read_the_body_keeps_the_connection(run: Run) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        for _ in range(3):
            await connection.send(request("/deaf", "content-length: 4", method="POST"))
            assert (await connection.answer()).status == 200
            await connection.send(b"body")
        assert (await connection.ask("/")).status == 200

    run(test)


FORWARDED = ("x-forwarded-for: 9.9.9.9", "x-forwarded-proto: https", "x-real-ip: 9.9.9.9")


def test_forwarded_headers_of_strangers_are_removed(run: Run) -> None:
    async def test(site: Website) -> None:
        seen = (await site.ask("/headers", *FORWARDED, "te: trailers", "proxy: evil")).body
        assert b"9.9.9.9" not in seen
        assert b'"client":"127.0.0.1","scheme":"http"' in seen
        assert b"trailers" not in seen
        assert b"evil" not in seen

    run(test)


def test_those_of_a_trusted_proxy_count(run: Run) -> None:
    async def test(site: Website) -> None:
        seen = (await site.ask("/headers", *FORWARDED)).body
        assert b'"client":"9.9.9.9","scheme":"https"' in seen
        assert b"x-real-ip" in seen

    run(test, trusted_proxies=("127.0.0.0/8",))


def test_headers_of_the_connection_are_not_the_application_s_to_send(run: Run) -> None:
    async def test(site: Website) -> None:
        answer = await site.ask("/hop")
        assert answer.headers["x-own"] == "1"
        assert not {"keep-alive", "upgrade", "te"} & answer.headers.keys()

    run(test)


def test_a_client_that_leaves_during_its_upload_is_counted_and_no_error(
    run: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(site: Website) -> None:
        connection = await site.connect()
        await connection.send(request("/size", "content-length: 8", method="POST") + b"a")
        connection.writer.close()
        labels = {"method": "POST", "route": "/size", "status": "499"}
        await wait_until_async(lambda: site.value("http_requests_total", **labels))

    run(test)
    assert caplog.text == ""
