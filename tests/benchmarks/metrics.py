"""What metrics cost: one request in a web worker, one scrape of a large platform, and whether two
thousand generations of workers leave anything behind in the supervisor."""

import contextlib
import os
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

from skep.metrics.instruments import Instruments
from skep.metrics.page_values import keep_in_page
from skep.metrics.web import HttpMetrics
from tests.benchmarks.figures import Figure, spread
from tests.load import Load
from tests.platform_process import Platform, running
from tests.support import wait_until

WORKERS, SERIES, FAMILIES, SCRAPES = 16, 8000, 5, 20
GENERATIONS, WARM, MAX_REQUESTS = 2000, 200, "10"
_REQUESTS = 'platform_http_requests_total{method="GET",route="/",status="200"}'
_APP = """
import os
from skep import Plugin
from starlette.responses import JSONResponse
from starlette.routing import Route

async def show(request):
    return JSONResponse({"pid": os.getpid()})

plugin = Plugin(routes=[Route("/", show)])
"""
_MANY = f"""
from contextlib import asynccontextmanager
from prometheus_client import Counter
from skep import Plugin, Worker

# Series of this worker's own, so that all workers together have as many as the bar says.
MADE = [Counter(f"made_{{number}}", "Made.", ["slot", "thing"]) for number in range({FAMILIES})]

@asynccontextmanager
async def life():
    for made in MADE:
        for thing in range({SERIES} // {FAMILIES} // {WORKERS}):
            made.labels(Worker.current().slot, f"thing-{{thing}}").inc()
    yield

plugin = Plugin(lifespan=life)
"""


def measure() -> Iterator[Figure]:
    """Give the costs, and what is left behind."""
    yield _request()
    yield from _scrape()
    yield from _generations()


def _request() -> Figure:
    keep_in_page()
    http = HttpMetrics(Instruments(CollectorRegistry(), "web"), lambda: 0)

    def request() -> None:
        http.begin()
        http.end("GET", "/things/{id}", 200, 0.012, 0, 1200)

    return Figure("CPU of all metrics of a request", _cost(request, 50_000), "µs", 2.0)


def _cost(act: Callable[[], object], times: int) -> float:
    """Microseconds of this process's CPU time for one."""
    runs = timeit.repeat(act, number=times, repeat=5, timer=time.process_time)
    return min(runs) / times * 1e6


def _scrape() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, _platform(Path(folder)) as platform:
        wait_until(lambda: _series(platform) >= SERIES)
        with httpx.Client() as client:
            seconds = []
            for _ in range(SCRAPES):
                time.sleep(0.2)
                began = time.perf_counter()
                client.get(f"{platform.admin}/metrics").raise_for_status()
                seconds.append(time.perf_counter() - began)
        note = f"{WORKERS} workers, {_series(platform)} series, {spread(seconds)}"
        yield Figure("one scrape", statistics.median(seconds) * 1000, "ms", 60.0, note)


@contextmanager
def _platform(folder: Path) -> Iterator[Platform]:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "many.py").write_text(_MANY)
    with running(folder, PLATFORM_WEB_WORKERS=str(WORKERS)) as platform:
        yield platform


def _series(platform: Platform) -> int:
    return sum(not line.startswith("#") for line in platform.metrics().splitlines())


def _generations() -> Iterator[Figure]:
    """Replace workers again and again, every twentieth by a kill, and compare what the supervisor
    takes after two hundred with what it takes in the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plugins").mkdir()
        (folder / "plugins" / "app.py").write_text(_APP)
        with running(folder, PLATFORM_MAX_REQUESTS=MAX_REQUESTS) as platform:
            with Load(platform.url, clients=6, ways=("fresh",)) as load:
                warm = _size_after(WARM, platform, load)
                end = _size_after(GENERATIONS, platform, load)
            counted = platform.counters()[_REQUESTS]
        for what, before, after in zip(("memory", "descriptors", "scrape"), warm, end, strict=True):
            note = f"{before} to {after}"
            grown = (after / before - 1) * 100
            yield Figure(f"growth of {what} over {GENERATIONS} workers", grown, "%", 5.0, note)
        lost = max(0, len(load.answers) - int(counted))
        yield Figure("requests not counted", lost, "", 0, f"of {len(load.answers)}")


def _size_after(generations: int, platform: Platform, load: Load) -> tuple[int, int, int]:
    """Wait until so many workers have served; return the supervisor's memory (kB), its descriptors
    and the bytes of a scrape."""
    seen: set[int] = set()
    at = killed = 0
    while len(seen) < generations:
        answers = load.answers[at:]
        at += len(answers)
        seen |= {answer.body["pid"] for answer in answers}
        if answers and len(seen) >= killed + 20:
            killed = len(seen)
            with contextlib.suppress(ProcessLookupError):
                platform.kill(answers[-1].body["pid"])
        time.sleep(0.05)
    assert platform.process is not None
    status = Path(f"/proc/{platform.process.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    descriptors = len(os.listdir(f"/proc/{platform.process.pid}/fd"))
    return int(resident.split()[1]), descriptors, len(platform.metrics())
