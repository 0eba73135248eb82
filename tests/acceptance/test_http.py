"""HTTP across a rollout, and clients that mean harm: a whole platform, over raw sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.platform_process import Platform, running
from tests.support import wait_until

PLUGIN = """
import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from skep import Plugin, Worker

SEEN = []


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"generation": Worker.current().generation})


async def size(request: Request) -> JSONResponse:
    generation = Worker.current().generation
    return JSONResponse({"generation": generation, "size": len(await request.body())})


async def leak(request: Request) -> JSONResponse:
    SEEN.append(bytes(10_000))  # the leak
    return JSONResponse(len(SEEN))


async def stream(request: Request) -> StreamingResponse:
    async def chunks():
        for n in range(int(request.path_params["tenths"])):
            yield b"x"
            await asyncio.sleep(0.1)

    return StreamingResponse(chunks())


async def until_drain(request: Request) -> StreamingResponse:
    async def events():
        yield b"data: hello\\n\\n"
        await Worker.current().wait_draining()
        yield b"data: bye\\n\\n"

    return StreamingResponse(events(), media_type="text/event-stream")


plugin = Plugin(
    routes=[
        Route("/", hello),
        Route("/size", size, methods=["POST"]),
        Route("/leak", leak),
        Route("/stream/{tenths}", stream),
        Route("/events", until_drain),
    ]
)
"""
MB = 1_000_000


def connect(platform: Platform) -> socket.socket:
    parts = urlsplit(platform.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=15)


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes the connection, one way or the other; close it too."""
    parts = []
    with sock, suppress(ConnectionResetError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Reader(threading.Thread):
    """Asks for a path and notes how the answer ended, and when."""

    def __init__(self, platform: Platform, path: str) -> None:
        super().__init__()
        self.path, self.answer, self.ended = path, b"", 0.0
        self._socket = connect(platform)
        self.start()

    def run(self) -> None:
        self._socket.sendall(f"GET {self.path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        self.answer = read_all(self._socket)
        self.ended = time.monotonic()

    @property
    def complete(self) -> bool:
        return self.answer.endswith(b"0\r\n\r\n")


def test_what_goes_on_across_a_rollout_ends_well_or_at_the_deadline(platform: Platform) -> None:
    (platform.plugins / "site.py").write_text(PLUGIN)
    platform.environment |= {
        "PLATFORM_DRAIN_TIMEOUT": "10",
        "PLATFORM_HEADER_TIMEOUT": "120",
        "PLATFORM_PROGRESS_TIMEOUT": "120",
    }
    platform.start()
    # Given connections without a byte, an upload half-way, and streams short, long and endless
    silent = connect(platform)
    upload = connect(platform)
    upload.sendall(b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n")
    upload.sendall(bytes(4 * MB))
    short, long, endless = [Reader(platform, p) for p in ("/stream/20", "/stream/999", "/events")]
    wait_until(lambda: 'requests_in_progress{pool="web"} 4' in platform.metrics())
    old = platform.pids("web.")
    # When a new generation takes over
    before = time.monotonic()
    assert platform.cli("reload").returncode == 0
    assert platform.get() == {"generation": 2}
    # Then the upload ends where it began, and who had connected before is served
    silent.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b" 200 OK" in read_all(silent).splitlines()[0]
    upload.sendall(bytes(6 * MB))
    answer = read_all(upload)
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"generation": 1, "size": 10 * MB}
    # And streams end by themselves, but for the one that outlasts the drain: that is counted
    for reader in (short, long, endless):
        reader.join()
    assert short.complete
    assert endless.complete
    assert b"data: bye" in endless.answer
    assert not long.complete
    assert endless.ended < long.ended
    assert long.ended - before > 10
    wait_until(lambda: not set(old) & set(platform.pids("web.")))
    cut = 'platform_http_requests_aborted_total{reason="drain"} 1'
    wait_until(lambda: cut in platform.metrics().splitlines())


@pytest.fixture
def besieged(tmp_path: Path) -> Any:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "site.py").write_text(PLUGIN)
    with running(
        tmp_path,
        PLATFORM_HEADER_TIMEOUT="4",
        PLATFORM_KEEP_ALIVE="1",
        PLATFORM_LEAK_CHECK="true",
        PLATFORM_WEB_WORKERS="1",
    ) as platform:
        yield platform


def resident(platform: Platform) -> int:
    (pid,) = platform.pids("web.").values()
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def attempt(action: Callable[[], object]) -> None:
    with suppress(OSError):
        action()


def flood(platform: Platform, start: bytes, chunk: bytes, times: int) -> bytes:
    """Send what no server should take; return what it answered before it had enough."""
    sock = connect(platform)
    attempt(lambda: sock.sendall(start))
    for _ in range(times):
        attempt(lambda: sock.sendall(chunk))
    return read_all(sock)[:12]


def test_slowloris_and_giants_leave_memory_flat_and_others_served(
    besieged: Platform,
) -> None:
    """Lifecycle, case 44."""
    platform = besieged
    for _ in range(20):
        platform.get()
    before, pids = resident(platform), platform.pids()
    # Given 500 clients that send a head byte by byte
    slow = [connect(platform) for _ in range(500)]
    for sock in slow:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nx-")
    assert [platform.get() for _ in range(5)] == [{"generation": 1}] * 5
    # And some that send far too much
    assert flood(platform, b"GET / HTTP/1.1\r\nx: ", b"y" * 70_000 + b"\r\n\r\n", 1) == (
        b"HTTP/1.1 431"
    )
    lines = b"".join(b"x%d: y\r\n" % n for n in range(10_000))
    assert flood(platform, b"GET / HTTP/1.1\r\n", lines, 20) in (b"HTTP/1.1 431", b"")
    assert flood(platform, b"GET / HTTP/1.1\r\nx: ", b"y" * MB, 50) in (b"HTTP/1.1 431", b"")
    length = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 10485761\r\n\r\n"
    assert flood(platform, length, b"", 0) == b"HTTP/1.1 413"
    assert platform.get() == {"generation": 1}
    # Then all of them are gone in time, the worker is the same, and no larger than before
    for sock in slow:
        assert read_all(sock)[:12] in (b"HTTP/1.1 408", b"")
    assert platform.pids() == pids
    assert resident(platform) - before < 40 * MB
    metrics = platform.metrics()
    assert 'platform_http_refusals_total{reason="header_timeout"} 500' in metrics
    assert 'platform_http_refusals_total{reason="headers"} 3' in metrics
    assert 'platform_http_connections{state="idle"}' in metrics


def test_memory_leak_route_is_named_by_the_watch_and_by_mem(besieged: Platform) -> None:
    platform = besieged
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=platform.url) as client:
            while not stop.is_set():
                client.get("/leak")

    client = threading.Thread(target=ask)
    client.start()
    try:
        done = platform.cli("mem", "--seconds", "2", "--json")
    finally:
        stop.set()
        client.join()
    assert done.returncode == 0, done.stderr
    (worker,) = [row for row in json.loads(done.stdout) if row["worker"] == "web.0@1"]
    line = PLUGIN.splitlines().index("    SEEN.append(bytes(10_000))  # the leak") + 1
    most = worker["growth"][0]
    assert (Path(most["file"]).name, most["line"]) == ("site.py", line)
    assert most["bytes"] > 10_000
    wait_until(lambda: "plugins.site.SEEN was changed by GET /leak" in platform.output())
    text = platform.cli("mem", "--seconds", "0.1").stdout
    assert "web.0@1 (pid " in text
    refused = platform.cli("mem", "--seconds", "-1")
    assert refused.returncode != 0
    assert "seconds must be above 0 and at most 3600, not" in refused.stderr
