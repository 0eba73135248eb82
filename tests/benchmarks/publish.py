"""From a publish until every worker is new."""

import shutil
import tempfile
import time
from pathlib import Path

from skep.base.rundir import RunDir
from skep.config.openapi import OpenApi
from skep.wire import control
from tests.benchmarks.figures import Figure, median, spread
from tests.platform_process import ROOT, running

ROUNDS = 20


def measure() -> list[Figure]:
    """Return the median over 20 publishes, with the sample plugins, 2 web and 1 task worker."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "plugins", Path(folder, "plugins"))
        with running(Path(folder)) as platform:
            token = (platform.data_dir / "configserver" / "token").read_text().strip()
            config = platform.status()["config"]
            run_dir = RunDir(platform.data_dir)
            with OpenApi(config["url"], token) as server:
                times = [one(server, run_dir, platform.url, n) for n in range(ROUNDS)]
    return [Figure("publish until every worker is new", median(times), "s", 1.0, spread(times))]


def one(server: OpenApi, run_dir: RunDir, url: str, number: int) -> float:
    """Publish once; return the seconds until all workers of a new generation accept."""
    generation = control.call(run_dir.control_socket, "status")["generation"]
    where = ("sample", "default", "application")
    server.set_item(*where, "GREETING", f"number {number}", "bench")
    start = time.perf_counter()
    server.publish(*where, "bench", "bench")
    while control.call(run_dir.control_socket, "status")["generation"] == generation:
        time.sleep(0.002)
    seconds = time.perf_counter() - start
    time.sleep(0.3)  # let the old ones go, so that the next round starts from rest
    return seconds
