"""From the kill of the only web worker until its successor answers."""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import httpx

from tests.benchmarks.figures import Figure, median, spread
from tests.platform_process import ROOT, Platform, running

ROUNDS = 12


def measure() -> list[Figure]:
    """Return the median; a reload before each kill lets every one be the first of its slot."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "plugins", Path(folder, "plugins"))
        with running(Path(folder), PLATFORM_WEB_WORKERS="1") as platform:
            times = [one(platform) for _ in range(ROUNDS)]
    return [
        Figure("killed web worker until it answers again", median(times), "s", 0.1, spread(times))
    ]


def one(platform: Platform) -> float:
    """Kill the web worker; return the seconds until a fresh connection has its answer."""
    assert platform.cli("reload").returncode == 0
    time.sleep(0.5)
    (pid,) = platform.pids("web.").values()
    start = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            answer = httpx.get(f"{platform.url}/", timeout=5).json()
        except httpx.TransportError:
            continue
        if answer["pid"] != pid:
            return time.perf_counter() - start
