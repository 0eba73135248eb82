"""Reloads under load: nothing is refused, reset or cut, and new answers never precede old ones."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.load import Load
from tests.platform_process import Platform
from tests.support import wait_until

CALM = """
import asyncio, hashlib, os
from contextlib import asynccontextmanager
from pathlib import Path
from skep import Plugin, Worker, cron
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

HERE = Path(os.environ["PLATFORM_DATA_DIR"])

@asynccontextmanager
async def life():
    mood = Path("mood").read_text() if Path("mood").exists() else ""
    if mood == "the second fails" and Worker.current().slot == "web.1":
        raise RuntimeError("not this one")
    if mood == "hangs":
        await asyncio.sleep(300)
    yield

def said():
    worker = Worker.current()
    return {"pid": os.getpid(), "generation": worker.generation}

async def show(request):
    return JSONResponse(said())

async def slow(request):
    await asyncio.sleep(0.3)
    return JSONResponse(said())

async def stream(request):
    async def parts():
        for number in range(int(request.query_params["parts"])):
            yield b"x" * 1000
            await asyncio.sleep(0.1)
    return StreamingResponse(parts())

async def upload(request):
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return JSONResponse({"size": size, "digest": digest.hexdigest(), **said()})

@cron(every="1s")
async def beat(tick):
    with (HERE / "beats.txt").open("a") as file:
        file.write(f"{tick.scheduled_at.timestamp():.0f}\\n")

plugin = Plugin(
    routes=[
        Route("/", show, methods=["GET", "POST"]), Route("/slow", slow),
        Route("/stream", stream), Route("/upload", upload, methods=["POST"]),
    ],
    crons=[beat],
    lifespan=life,
)
"""


LONG = """
import asyncio, os, time
from pathlib import Path
from skep import Plugin, Task, cron
from starlette.responses import JSONResponse
from starlette.routing import Route

FILE = Path(os.environ["PLATFORM_DATA_DIR"]) / "long.txt"

def note(*words):
    with FILE.open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@cron(every="300ms")
async def long(tick):
    note("cron", "begin", os.getpid(), time.monotonic())
    while tick.n == 1 and not Path("go").exists():
        await asyncio.sleep(0.05)
    note("cron", "end", os.getpid(), time.monotonic())

class Chore(Task):
    async def handle(self, ctx):
        note("task", "begin", os.getpid(), time.monotonic())
        while not Path("go").exists():
            await asyncio.sleep(0.05)
        note("task", "end", os.getpid(), time.monotonic())

async def deliver(request):
    await Chore().deliver()
    return JSONResponse({})

plugin = Plugin(
    crons=[long], tasks=[Chore], routes=[Route("/deliver", deliver, methods=["POST"])]
)
"""


SLOW = """
import pathlib, time
from skep import Plugin

pathlib.Path("{begun}").touch()
time.sleep(120)
plugin = Plugin()
"""


@pytest.fixture
def calm(platform: Platform) -> Platform:
    (platform.plugins / "calm.py").write_text(CALM)
    return platform


def reload(platform: Platform) -> None:
    done = platform.cli("reload")
    assert done.returncode == 0, done.stderr


def descriptors(platform: Platform) -> int:
    assert platform.process is not None
    return len(os.listdir(f"/proc/{platform.process.pid}/fd"))


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_series_of_reloads_fails_no_request_and_leaves_nothing_behind(
    calm: Platform, loop: str, parser: str
) -> None:
    """Lifecycle, case 7."""
    calm.environment |= {"PLATFORM_LOOP": loop, "PLATFORM_HTTP": parser}
    calm.start()
    reload(calm)
    wait_until(lambda: all(name.endswith("@2") for name in calm.pids("web.")))
    processes, files = len(calm.tree()), descriptors(calm)
    loads = (
        Load(calm.url, clients=2),
        Load(calm.url, method="POST", clients=2, ways=("fresh", "kept")),
        Load(calm.url, path="/slow", clients=2, ways=("fresh", "kept")),
    )
    generation = 2
    with loads[0], loads[1], loads[2]:
        for _ in range(4):
            generation += 1
            reload(calm)
            # Lifecycle, case 15: who comes after a reload has returned is served by the new one
            # alone
            assert {calm.get()["generation"] for _ in range(3)} == {generation}
        wait_until(lambda: loads[0].answers[-1].body["generation"] == generation)
    assert [load.failures for load in loads] == [[], [], []]
    last = {g: max(a.asked for a in loads[0].answers if a.body["generation"] == g) for g in (3, 4)}
    # Lifecycle, case 10: what an old worker says after that is the last word on its connection
    late = [a for a in loads[0].answers if a.body["generation"] == 3 and a.asked > last[4]]
    assert all(a.last for a in late)
    # Lifecycle, case 33: no process, zombie or descriptor more than before
    wait_until(lambda: len(calm.tree()) == processes)
    wait_until(lambda: descriptors(calm) <= files)
    # Lifecycle, case 36: every second one beat, whoever the timer was
    calm.stop()
    beats = [int(x) for x in (calm.data_dir / "beats.txt").read_text().split()]
    assert len(beats) == len(set(beats))
    assert beats == list(range(beats[0], beats[-1] + 1))


def test_one_worker_is_enough_to_lose_nothing_of_what_is_under_way(
    calm: Platform,
) -> None:
    """Lifecycle, cases 8 and 14."""
    calm.environment |= {
        "PLATFORM_WEB_WORKERS": "1",
        "PLATFORM_DRAIN_TIMEOUT": "30",
        "PLATFORM_HEADER_TIMEOUT": "120",
        "PLATFORM_PROGRESS_TIMEOUT": "120",
    }
    calm.start()
    host, port = calm.url.removeprefix("http://").split(":")
    got: dict[str, httpx.Response] = {}

    def ask(name: str, path: str, **more: object) -> threading.Thread:
        def run() -> None:
            got[name] = httpx.request(url=f"{calm.url}{path}", timeout=60, **more)  # type: ignore[arg-type]

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def body() -> Iterator[bytes]:
        for number in range(100):
            if number == 20:
                half.set()
                reloaded.wait(60)
            yield b"y" * 100_000

    half, reloaded = threading.Event(), threading.Event()
    streaming = ask("stream", "/stream?parts=30", method="GET")
    uploading = ask("upload", "/upload", method="POST", content=body())
    silent = socket.create_connection((host, int(port)))
    assert half.wait(30)
    with Load(calm.url, clients=2) as load:
        wait_until(lambda: len(load.answers) > 20)
        reload(calm)
        reloaded.set()
        # Lifecycle, case 11: a connection from before the reload, whose first byte comes after it
        silent.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in silent.recv(4096)
        wait_until(lambda: load.answers[-1].body["generation"] == 2)
    streaming.join()
    uploading.join()
    silent.close()
    assert load.failures == []
    assert len(got["stream"].content) == 30_000
    answer = got["upload"].json()
    assert (answer["size"], answer["generation"]) == (10_000_000, 1)


def test_a_response_that_outlasts_the_drain_is_cut_and_counted(calm: Platform) -> None:
    """Lifecycle, case 12."""
    calm.environment["PLATFORM_DRAIN_TIMEOUT"] = "2"
    calm.start()
    old = set(calm.pids("web.").values())
    with httpx.stream("GET", f"{calm.url}/stream?parts=600", timeout=30) as answer:
        parts = answer.iter_bytes()
        next(parts)
        reload(calm)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in parts:
                pass
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in old))
    assert calm.get()["generation"] == 2


def test_a_generation_of_which_one_worker_fails_or_hangs_never_serves(
    calm: Platform,
) -> None:
    """Lifecycle, cases 20 and 22."""
    calm.environment["PLATFORM_BOOT_TIMEOUT"] = "8"
    calm.start()
    pids = calm.pids()
    with Load(calm.url, clients=2) as load:
        for mood, says in (("the second fails", "not this one"), ("hangs", "took over 8 s")):
            (calm.directory / "mood").write_text(mood)
            done = calm.cli("reload")
            assert done.returncode == 1
            assert says in done.stderr
            assert httpx.get(f"{calm.admin}/readyz").status_code == 200
    assert load.failures == []
    assert {a.body["generation"] for a in load.answers} == {1}
    # What was forked of the new generation may still be on its way out
    wait_until(lambda: calm.pids() == pids)
    # Lifecycle, case 21: a worker that dies now comes back with what serves
    (calm.directory / "mood").write_text("")
    calm.kill(pids["web.0@1"])
    wait_until(lambda: calm.pids().get("web.0@1") not in (None, pids["web.0@1"]))


def test_a_slow_import_holds_nobody_up_and_gives_way_to_something_newer(
    calm: Platform,
) -> None:
    """Lifecycle, cases 9 and 19."""
    calm.start("--watch")
    slow, begun = calm.plugins / "slow.py", calm.directory / "begun"
    with Load(calm.url, clients=2) as load:
        slow.write_text(SLOW.format(begun=begun))
        wait_until(begun.exists)
        assert calm.status()["coming"] == "planning"
        began = time.monotonic()
        wait_until(lambda: len(load.bodies(since=began)) > 200)
        slow.write_text("from skep import Plugin\nplugin = Plugin()\n")
        wait_until(lambda: load.answers[-1].body["generation"] == 3)
    assert load.failures == []
    assert {a.body["generation"] for a in load.answers} == {1, 3}


def test_what_runs_long_ends_where_it_began_and_no_second_copy_begins(
    platform: Platform,
) -> None:
    """Lifecycle, cases 37 and 38."""
    (platform.plugins / "long.py").write_text(LONG)
    platform.environment["PLATFORM_DRAIN_TIMEOUT"] = "30"
    platform.start()

    def lines(kind: str) -> list[list[str]]:
        file = platform.data_dir / "long.txt"
        rows = [x.split() for x in file.read_text().splitlines()] if file.exists() else []
        return [row for row in rows if row[0] == kind]

    wait_until(lambda: lines("cron"))
    httpx.post(f"{platform.url}/deliver").raise_for_status()
    wait_until(lambda: lines("task"))
    old = platform.pids()
    reload(platform)
    wait_until(lambda: 'reason="overlap"} ' in platform.metrics())
    (platform.directory / "go").write_text("")
    wait_until(lambda: len(lines("cron")) >= 4)
    first, end, second = lines("cron")[:3]
    assert [row[1] for row in (first, end, second)] == ["begin", "end", "begin"]
    assert first[2] == end[2] == str(old["cron.0@1"])
    assert second[2] == str(platform.pids()["cron.0@2"])
    assert float(second[3]) >= float(end[3])
    wait_until(lambda: len(lines("task")) == 2)
    assert {row[2] for row in lines("task")} == {str(old["task.0@1"])}
