"""What people know from LaravelS, feature by feature, from outside: one platform, real sockets."""

import asyncio
import contextlib
import gzip
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect as connect_websocket

from tests.platform_process import ROOT, Platform, running
from tests.support import wait_until

PLUGIN = """
import asyncio
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from skep import Plugin, Worker, push_sync

LANGUAGE = {"now": "en"}  # shared: the cleaner resets it


async def opened(gate):
    while not Path(gate).exists():
        await asyncio.sleep(0.01)


async def who(request):
    return JSONResponse({"worker": Worker.current().name})


async def seen(request):
    return JSONResponse({"ip": request.headers.get("x-real-ip"), "client": request.client.host})


async def size(request):
    return JSONResponse(len(await request.body()))


async def large(request):
    return PlainTextResponse("honey " * 1000)


async def gated(request):
    await opened(request.path_params["gate"])
    return PlainTextResponse("at last")


async def sse(request):
    async def events():
        yield "data: first\\n\\n"
        await opened("second")
        yield "data: second\\n\\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def afterwards(request):
    async def work():
        await opened("after")
        Path("worked").touch()

    return PlainTextResponse("accepted", 202, background=BackgroundTask(work))


async def language(request):
    before, LANGUAGE["now"] = LANGUAGE["now"], "fr"
    if "fail" in request.query_params:
        raise LookupError("on purpose")
    return PlainTextResponse(before)


def whisper(request):
    return JSONResponse(push_sync("psst", user=request.path_params["user"]))


async def whisper_wrongly(request):
    return JSONResponse(push_sync("psst", user="ann"))


class Controller(HTTPEndpoint):
    async def get(self, request):
        before = getattr(self, "seen", None)
        self.seen = request.state.basket = object()
        return JSONResponse({"before": before, "provided": request.state.provided is not None})


def provide(request):
    assert not hasattr(request.state, "provided"), "of another request"
    request.state.provided = object()


def sign(request, head):
    head.headers["x-answered"] = request.url.path


def reset():
    LANGUAGE["now"] = "en"


plugin = Plugin(
    routes=[
        Route("/who", who), Route("/seen", seen), Route("/size", size, methods=["POST"]),
        Route("/large", large), Route("/gated/{gate}", gated),
        Route("/sse", sse), Route("/afterwards", afterwards, methods=["POST"]),
        Route("/language", language), Route("/controller", Controller),
        Route("/whisper/{user}", whisper), Route("/wrongly", whisper_wrongly),
    ],
    request_received=[provide], response_generated=[sign], cleaners=[reset],
)
"""
CONNECTIONS, LARGEST = 150, 100_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "plugins" / "echo", folder / "plugins" / "echo")
    (folder / "plugins" / "site.py").write_text(PLUGIN)
    (folder / "public").mkdir()
    (folder / "public" / "logo.txt").write_text("0123456789 and more")
    with running(
        folder,
        "--static",
        "public",
        PLATFORM_SERVER_HEADER="bees",
        PLATFORM_COMPRESSION="true",
        PLATFORM_MAX_BODY_SIZE=str(LARGEST),
        PLATFORM_MAX_CONNECTIONS=str(CONNECTIONS),
    ) as platform:
        yield platform


def connect(platform: Platform) -> socket.socket:
    parts = urlsplit(platform.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def ask_raw(platform: Platform, request: bytes) -> bytes:
    with connect(platform) as sock, contextlib.suppress(ConnectionResetError):
        sock.sendall(request)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return answer


def open_gate(platform: Platform, name: str) -> None:
    (platform.directory / name).touch()


def test_server_header_is_what_is_set(site: Platform) -> None:
    for path in ("/who", "/nowhere", "/logo.txt"):
        assert httpx.get(f"{site.url}{path}").headers["server"] == "bees"


def test_handle_static_serves_ranges_and_nothing_outside(site: Platform) -> None:
    answer = httpx.get(f"{site.url}/logo.txt", headers={"range": "bytes=0-9"})
    assert (answer.status_code, answer.content) == (206, b"0123456789")
    etag = httpx.get(f"{site.url}/logo.txt").headers["etag"]
    assert httpx.get(f"{site.url}/logo.txt", headers={"if-none-match": etag}).status_code == 304
    assert site.env_file.exists()
    for path in (b"/../.env", b"/%2e%2e/.env", b"/..%2f.env", b"//../.env"):
        request = b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        assert ask_raw(site, request).split(b" ")[1] == b"404"


def test_http_compression_where_the_client_takes_it(site: Platform) -> None:
    with httpx.stream("GET", f"{site.url}/large", headers={"accept-encoding": "gzip"}) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"honey " * 1000
    plain = httpx.get(f"{site.url}/large", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_package_max_length_one_byte_more_is_413_and_no_dropped_connection(site: Platform) -> None:
    assert httpx.post(f"{site.url}/size", content=bytes(LARGEST)).json() == LARGEST
    answer = httpx.post(f"{site.url}/size", content=bytes(LARGEST + 1))
    assert (answer.status_code, answer.headers["server"]) == (413, "bees")


def test_max_connection_beyond_it_is_503_with_retry_after_and_below_it_200(site: Platform) -> None:
    with ExitStack() as held:

        def crowded() -> bool:
            held.enter_context(connect(site))
            answer = ask_raw(site, b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return b" 503 " in answer and b"retry-after: 1" in answer.lower()

        wait_until(crowded, interval=0)
    wait_until(lambda: httpx.get(f"{site.url}/who").status_code == 200)
    assert 'platform_http_refusals_total{reason="connections"}' in site.metrics()


def test_trusted_proxies_a_spoofed_address_is_ignored(site: Platform) -> None:
    spoofed = {"x-real-ip": "192.0.2.7", "x-forwarded-for": "192.0.2.7"}
    answer = httpx.get(f"{site.url}/seen", headers=spoofed)
    assert answer.json() == {"ip": None, "client": "127.0.0.1"}


def test_received_request_and_generated_response_for_every_answer(site: Platform) -> None:
    for path in ("/who", "/nowhere", "/logo.txt"):
        assert httpx.get(f"{site.url}{path}").headers["x-answered"] == path


def test_cleaners_a_request_finds_the_default_also_after_an_exception(site: Platform) -> None:
    assert httpx.get(f"{site.url}/language?fail").status_code == 500
    found = [httpx.get(f"{site.url}/language").text for _ in range(10)]
    assert found == ["en"] * 10


def test_destroy_controllers_and_register_providers_of_each_request(site: Platform) -> None:
    with httpx.Client(base_url=site.url) as client:
        found = [client.get("/controller").json() for _ in range(5)]
    assert found == [{"before": None, "provided": True}] * 5


def test_streaming_sse_events_come_as_they_occur(site: Platform) -> None:
    with httpx.stream("GET", f"{site.url}/sse", timeout=20) as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines) == "data: first"  # the second has not occurred yet
        open_gate(site, "second")
        assert next(lines) == "data: second"


def test_terminate_after_response_the_client_does_not_wait_for_the_work(site: Platform) -> None:
    assert httpx.post(f"{site.url}/afterwards").status_code == 202
    assert not (site.directory / "worked").exists()
    open_gate(site, "after")
    wait_until((site.directory / "worked").exists)


def test_worker_num_a_hundred_wait_at_once_on_two_workers(site: Platform) -> None:
    async def test() -> list[int]:
        async with httpx.AsyncClient(base_url=site.url, timeout=30) as client:
            asking = [asyncio.create_task(client.get("/gated/hundred")) for _ in range(100)]
            await asyncio.to_thread(wait_until, all_in_progress)
            open_gate(site, "hundred")
            return [answer.status_code for answer in await asyncio.gather(*asking)]

    def all_in_progress() -> bool:
        return 'platform_http_requests_in_progress{pool="web"} 100' in site.metrics()

    assert asyncio.run(test()) == [200] * 100


def test_udp_socket_a_packet_is_logged_once_and_answered(site: Platform) -> None:
    host, port = _address(site, "echo.packets")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(b"hi, hive", (host, port))
        assert sock.recv(100) == b"hi, hive"
    wait_until(lambda: "b'hi, hive'" in site.output())
    assert site.output().count("b'hi, hive'") == 1


def test_tcp_socket_two_messages_in_one_segment_are_two_and_conns_shows_it(site: Platform) -> None:
    with socket.create_connection(_address(site, "echo.lines"), timeout=20) as sock:
        lines = sock.makefile("rb")
        assert lines.readline().startswith(b"Say something")
        sock.sendall(b"one\ntwo\n")
        assert [lines.readline().split()[1] for _ in range(2)] == [b"one", b"two"]
        shown = site.cli("conns", "echo.lines").stdout
        assert f"127.0.0.1:{sock.getsockname()[1]}" in shown


def test_push_from_anywhere_a_thread_too(site: Platform) -> None:
    async def test() -> None:
        url = site.url.replace("http", "ws")
        async with connect_websocket(f"{url}/echo/chat?name=ann") as ann:
            await ann.recv()
            async with httpx.AsyncClient(base_url=site.url) as client:
                for _ in range(5):  # to either worker
                    assert (await client.get("/whisper/ann")).json() == 1
                    while await ann.recv() != "psst":
                        pass
                assert (await client.get("/whisper/nobody")).json() == 0
                assert (await client.get("/wrongly")).status_code == 500

    asyncio.run(asyncio.wait_for(test(), 30))
    assert "in a coroutine, await deliver(), fire() or push()" in site.output()


def _address(platform: Platform, listener: str) -> tuple[str, int]:
    parts = urlsplit(platform.status()["listeners"][listener])
    return parts.hostname or "", parts.port or 0
