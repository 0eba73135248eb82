"""CPU per request of a web worker, beside bare uvicorn serving the same Starlette app."""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.figures import Figure, median, spread
from tests.platform_process import Platform, running
from tests.support import wait_until

APP = """
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(request: Request):
    return JSONResponse({"hello": request.path_params["name"]})


routes = [Route("/hello/{name}", hello)]
app = Starlette(routes=routes)
"""
PLUGIN = "\nfrom skep import Plugin\n\nplugin = Plugin(routes=routes)\n"
# A round is cut into slices, first of one and then of the other, so that both have their share of
# what else the machine does.
ROUNDS, SLICES, REQUESTS, CLIENTS = 31, 8, 400, 16
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
REQUEST = b"GET /hello/bee HTTP/1.1\r\nhost: bench\r\n\r\n"


def measure() -> list[Figure]:
    """Return the ratio of the CPU a request costs, and both costs in microseconds."""
    with tempfile.TemporaryDirectory() as folder, bare_uvicorn(Path(folder)) as (pid, url):
        ours = Path(folder, "ours")
        ours.mkdir()
        (ours / "plugins").mkdir()
        (ours / "plugins" / "app.py").write_text(APP + PLUGIN)
        with running(ours, PLATFORM_WEB_WORKERS="1") as platform:
            (worker,) = platform.pids("web.").values()
            sides = ((worker, platform.url), (pid, url))
            pairs = [(*costs(*sides), whole(platform, worker)) for _ in range(ROUNDS)]
    ratios = [a / b for a, b, _ in pairs]
    return [
        Figure("CPU per request, web worker / bare uvicorn", median(ratios), "x", 1.15,
               spread(ratios)),
        Figure("CPU per request, web worker", median([a for a, _, _ in pairs]), "us"),
        Figure("CPU per request, bare uvicorn", median([b for _, b, _ in pairs]), "us"),
        Figure("CPU of all other processes, idle, share of a core",
               median([c for _, _, c in pairs]), "%"),
    ]  # fmt: skip


def costs(*sides: tuple[int, str]) -> list[float]:
    """Return the microseconds of CPU that each of these processes spends on one request."""

    async def measure() -> list[float]:
        spent = [0.0] * len(sides)
        clients = [await connections(url) for _, url in sides]
        for _ in range(SLICES):
            for number, (pid, _) in enumerate(sides):
                before = cpu(pid)
                await ask(clients[number], REQUESTS)
                spent[number] += cpu(pid) - before
        for _, writer in itertools.chain(*clients):
            writer.close()
        return [seconds / (SLICES * REQUESTS) * 1e6 for seconds in spent]

    return asyncio.run(measure())


def whole(platform: Platform, worker: int) -> float:
    """Return what the rest of the tree spends in a second of idleness, in percent of a core."""
    others = [pid for pid in platform.tree() if pid != worker]
    before = sum(cpu(pid) for pid in others)
    asyncio.run(asyncio.sleep(1.0))
    return (sum(cpu(pid) for pid in others) - before) * 100


def cpu(pid: int) -> float:
    """Return the seconds of CPU a process has used, to the nanosecond."""
    total = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


async def connections(url: str) -> list[Connection]:
    """Open a connection for each client."""
    parts = urlsplit(url)
    return [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(CLIENTS)]


async def ask(clients: list[Connection], requests: int) -> None:
    """Make so many requests over kept-alive connections."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(requests // CLIENTS):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(b'{"hello":"bee"}'))

    await asyncio.gather(*itertools.starmap(client, clients))


@contextlib.contextmanager
def bare_uvicorn(folder: Path) -> Iterator[tuple[int, str]]:
    """Run uvicorn, as it is, with the same app; yield its process id and address."""
    (folder / "bare.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        [*command, "--log-level", "warning"], cwd=folder, env={**os.environ, "PYTHONPATH": ""}
    )
    try:
        wait_until(lambda: answers(port))
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    """Say whether anybody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
