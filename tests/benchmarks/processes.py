"""Custom processes: what a request costs, from a worker of the platform to a process and back."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.benchmarks.figures import Figure, median, percentile, spread
from tests.platform_process import running

ROUNDS, REQUESTS = 15, 400
PLUGIN = """
import time
from skep import Plugin, Process
from starlette.responses import JSONResponse
from starlette.routing import Route


class Echo(Process, num=1):
    async def run(self, ctx):
        async for message in ctx.messages():
            await message.reply({"echo": message.body})


async def measure(request):
    times = []
    for n in range(int(request.path_params["times"])):
        began = time.perf_counter()
        reply = await Echo.request({"x": n})
        times.append((time.perf_counter() - began) * 1000)
        assert reply == {"echo": {"x": n}}
    return JSONResponse(times)


plugin = Plugin(processes=[Echo], routes=[Route("/measure/{times}", measure)])
"""


def measure() -> Iterator[Figure]:
    """Return the milliseconds of a request from a web worker to a process, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        plugins = Path(folder, "plugins")
        plugins.mkdir()
        (plugins / "ticker.py").write_text(PLUGIN)
        with running(Path(folder), PLATFORM_WEB_WORKERS="1") as platform:
            rounds = [
                httpx.get(f"{platform.url}/measure/{REQUESTS}", timeout=60).json()
                for _ in range(ROUNDS)
            ]
    halves = [median(times) for times in rounds]
    yield Figure("request to a custom process, p50", median(halves), "ms", 0.3, spread(halves))
    slow = [percentile(times, 0.99) for times in rounds]
    yield Figure("request to a custom process, p99", median(slow), "ms", note=spread(slow))
