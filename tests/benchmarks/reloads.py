"""Reload after reload under load, ours and the peers' in one run: what fails, how long the longest
stall is, and how long it takes until every answer is new.

Each reload is a round: of its longest waits the median counts, against that of as long times
without a reload. On a machine that others share the longest of all is mostly not ours; it is told.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.figures import Figure, median, spread
from tests.load import Answer, Load
from tests.platform_process import running
from tests.support import wait_until

RELOADS, PAUSE, STEADY, END = 25, 1.6, 16.0, 5.0
IMPORT = 0.5

_HANDLERS = f"""
import asyncio, time
from pathlib import Path
from starlette.responses import JSONResponse
from starlette.routing import Route

VERSION = Path("version").read_text()
time.sleep({IMPORT})

async def show(request):
    return JSONResponse({{"version": VERSION}})

async def slow(request):
    await asyncio.sleep(0.3)
    return JSONResponse({{"version": VERSION}})

routes = [Route("/", show, methods=["GET", "POST"]), Route("/slow", slow)]
"""
_APP = (
    f"from starlette.applications import Starlette\n{_HANDLERS}\napp = Starlette(routes=routes)\n"
)
_PLUGIN = f"from skep import Plugin\n{_HANDLERS}\nplugin = Plugin(routes=routes)\n"


@dataclass(frozen=True)
class Server:
    """What runs: its address, the process that takes a HUP, and where its version is written."""

    url: str
    pid: int
    version: Path

    def release(self, version: str) -> None:
        """Have another version, from the next load on."""
        self.version.write_text(version)
        os.kill(self.pid, signal.SIGHUP)


def measure() -> list[Figure]:
    """Return the figures of everybody; bars are for ours alone."""
    figures: list[Figure] = []
    for name, start, ours in (
        ("skep, uvloop, httptools", lambda d: _skep(d, "uvloop", "httptools"), True),
        ("skep, uvloop, h11", lambda d: _skep(d, "uvloop", "h11"), True),
        ("skep, asyncio, httptools", lambda d: _skep(d, "asyncio", "httptools"), True),
        ("skep, asyncio, h11", lambda d: _skep(d, "asyncio", "h11"), True),
        ("gunicorn, uvicorn workers", lambda d: _peer(d, _GUNICORN), False),
        ("uvicorn --workers", lambda d: _peer(d, _UVICORN), False),
        ("granian", lambda d: _peer(d, _GRANIAN), False),
    ):
        figures += _measure(name, start, ours)
    return figures


def _measure(name: str, start: Callable[[Path], Iterator[Server]], ours: bool) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "version").write_text("0")
        with contextmanager(start)(Path(folder)) as server:
            loads, began = _series(server)
            fast = [a for load in loads[:-1] for a in load.answers]
            steady = _longest(fast, began - STEADY, began)
            stalls = _longest(fast, began, began + RELOADS * PAUSE)
            failed = sum(len(load.failures) for load in loads)
            count = sum(len(load.answers) for load in loads)
            delay = _until_all_are_new(server)
    bar = 0.0 if ours else None
    yield Figure(f"{name}: failed requests in {RELOADS} reloads", failed, "", bar, f"of {count}")
    above = max(0.0, median(stalls) - median(steady))
    bar, note = 0.05 if ours else None, spread(stalls)
    yield Figure(f"{name}: longest stall above the steady one", above, "s", bar, note)
    yield Figure(f"{name}: until all is new, above import", delay, "s", 0.15 if ours else None)


def _longest(answers: Sequence[Answer], begin: float, end: float) -> list[float]:
    """Return the longest wait of each round between two moments."""
    rounds: dict[int, float] = {}
    for answer in answers:
        if begin <= answer.asked < end:
            number = int((answer.asked - begin) / PAUSE)
            rounds[number] = max(rounds.get(number, 0.0), answer.had - answer.asked)
    return list(rounds.values())


def _series(server: Server) -> tuple[list[Load], float]:
    """Ask for a while, then reload again and again; return the loads and when that began."""
    loads = [
        Load(server.url, clients=2),
        Load(server.url, method="POST", clients=2, ways=("fresh", "kept")),
        Load(server.url, path="/slow", clients=2, ways=("fresh", "kept")),
    ]
    with ExitStack() as running_loads:
        for load in loads:
            running_loads.enter_context(load)
        time.sleep(STEADY)
        began = time.monotonic()
        for number in range(RELOADS):
            server.release(str(number))
            time.sleep(PAUSE)
        time.sleep(END)
    return loads, began


def _until_all_are_new(server: Server) -> float:
    """Release once more; return the seconds until the last old answer was asked for, above what
    the import alone takes. A server that does not get there in a minute has a minute."""
    with Load(server.url, clients=2, ways=("fresh",)) as load:
        time.sleep(1.0)
        began = time.monotonic()
        server.release("last")
        end = began + 60
        while time.monotonic() < end and not _settled(load):
            time.sleep(0.05)
    old = [a.asked for a in load.answers if a.body["version"] != "last"]
    return max(old) - began - IMPORT


def _settled(load: Load) -> bool:
    """Whether all answers of the last two seconds are new."""
    latest = {body["version"] for body in load.bodies(since=time.monotonic() - 2.0)}
    return latest == {"last"}


# Who is measured.


def _skep(folder: Path, loop: str, parser: str) -> Iterator[Server]:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "app.py").write_text(_PLUGIN)
    chosen = {"PLATFORM_LOOP": loop, "PLATFORM_HTTP": parser}
    with running(folder, PLATFORM_DRAIN_TIMEOUT="30", **chosen) as platform:
        assert platform.process is not None
        yield Server(platform.url, platform.process.pid, folder / "version")


_GUNICORN = (
    "gunicorn",
    "-k",
    "uvicorn_worker.UvicornWorker",
    "-w",
    "2",
    "-b",
    "{address}",
    "app:app",
)
_UVICORN = ("uvicorn", "--workers", "2", "--host", "{host}", "--port", "{port}", "app:app")
_GRANIAN = ("granian", "--interface", "asgi", "--workers", "2", "--host", "{host}",
            "--port", "{port}", "app:app")  # fmt: skip


def _peer(folder: Path, command: tuple[str, ...]) -> Iterator[Server]:
    (folder / "app.py").write_text(_APP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    values = {"host": host, "port": port, "address": f"{host}:{port}"}
    program = str(Path(sys.executable).parent / command[0])
    arguments = [part.format(**values) for part in command[1:]]
    process = subprocess.Popen(
        [program, *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://{host}:{port}"
    try:
        wait_until(lambda: _answers(url), deadline=30)
        yield Server(url, process.pid, folder / "version")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
