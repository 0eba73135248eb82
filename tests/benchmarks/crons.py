"""Crons: how late an interval of 10 ms is, beside APScheduler; what a thousand that wait cost; and
a hundred kills of the timer around due moments."""

import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.acceptance.clockwork import Clockwork
from tests.benchmarks.figures import Figure, percentile
from tests.platform_process import Platform
from tests.process.store_child import start_python
from tests.support import wait_until

SECONDS, PEER_SECONDS, IDLE_SECONDS, KILLS = 60.0, 20.0, 20.0, 100
EVERY = 0.01
_TICKING = """
import json, os, time
from pathlib import Path
from skep import Plugin, cron

LATE = []

@cron(every="10ms")
async def tick(tick):
    LATE.append((time.time() - tick.scheduled_at.timestamp(), tick.scheduled_at.timestamp(),
                 tick.missed))
    if len(LATE) == COUNT:
        Path("late.new").write_text(json.dumps(LATE))
        os.rename("late.new", "late.json")

plugin = Plugin(crons=[tick])
"""
_MANY = """
from skep import Plugin, cron

def job(number):
    @cron(every="1h", name=f"job{number}")
    async def run(tick): ...
    return run

plugin = Plugin(crons=[job(number) for number in range(1000)])
"""
_PEER = """
import asyncio, json, logging, sys, time
import uvloop
from apscheduler.schedulers.asyncio import AsyncIOScheduler

logging.getLogger("apscheduler").setLevel(logging.ERROR)
late = []

async def tick():
    late.append((time.time() - begun) % 0.01)

async def main():
    global begun
    scheduler = AsyncIOScheduler(timezone="UTC")
    scheduler.start()
    job = scheduler.add_job(tick, "interval", seconds=0.01)
    begun = job.next_run_time.timestamp()
    await asyncio.sleep(float(sys.argv[1]))

uvloop.run(main())
late.sort()
print(json.dumps([1000 * late[int(len(late) * share)] for share in (0.5, 0.99)] + [len(late)]))
"""
_BARE = """
import asyncio, json, sys, time
import uvloop

late = []

async def main():
    due = time.monotonic()
    end = due + float(sys.argv[1])
    while due < end:
        due += 0.01
        await asyncio.sleep(due - time.monotonic())
        late.append(time.monotonic() - due)

uvloop.run(main())
late.sort()
print(json.dumps([1000 * late[int(len(late) * share)] for share in (0.5, 0.99)] + [len(late)]))
"""


def measure() -> list[Figure]:
    """Return lateness in milliseconds, processor time in per cent, and moments that were lost."""
    return [*_lateness(), _idle(), _kills()]


def _platform(folder: str, plugin: str, **environment: str) -> Platform:
    made = Platform(Path(folder), PLATFORM_KINDS="cron", **environment)
    (made.plugins / "clock.py").write_text(plugin)
    return made


def _lateness() -> list[Figure]:
    count = round(SECONDS / EVERY)
    with tempfile.TemporaryDirectory() as folder:
        plugin = _TICKING.replace("COUNT", str(count))
        platform = _platform(folder, plugin)
        try:
            platform.start()
            bare = start_python("-c", _BARE, str(SECONDS), stdout=subprocess.PIPE)
            file = platform.directory / "late.json"
            wait_until(file.exists, SECONDS + 60, interval=0.5)
            ticks = json.loads(file.read_text())
        finally:
            platform.stop()
    late = [1000 * row[0] for row in ticks]
    first, last = ticks[0][1], ticks[-1][1]
    steps = count - 1 + sum(row[2] for row in ticks[1:])
    drift = 1000 * abs(last - first - steps * EVERY)
    tail = late[-500:]
    noise = _answer(bare)
    peer = _answer(start_python("-c", _PEER, str(PEER_SECONDS), stdout=subprocess.PIPE))
    return [
        Figure("cron: 10 ms interval, lateness p99", percentile(late, 0.99), "ms", 1.0,
               f"p50 {percentile(late, 0.5):.3f}, p99.9 {percentile(late, 0.999):.3f}; "
               f"{sum(row[2] for row in ticks)} of {count} missed"),
        Figure("cron: drift of its moments", drift, "ms", 0.1, f"in {SECONDS:.0f} s"),
        Figure("cron: lateness p50 at the end", percentile(tail, 0.5), "ms", 1.0),
        Figure("a bare loop at the same time, lateness p99", noise[1], "ms", None,
               f"p50 {noise[0]:.3f}: what this machine does to any timer"),
        Figure("APScheduler: the same, lateness p99", peer[1], "ms", None,
               f"p50 {peer[0]:.3f}; {peer[2]} of "
               f"{round(PEER_SECONDS / EVERY)} ran"),
    ]  # fmt: skip


def _answer(child: subprocess.Popen[bytes]) -> tuple[float, float, int]:
    """Return p50 and p99 in milliseconds, and how many there were."""
    output, _ = child.communicate(timeout=SECONDS + PEER_SECONDS + 60)
    assert child.returncode == 0
    p50, p99, count = json.loads(output)
    return p50, p99, count


def _idle() -> Figure:
    with tempfile.TemporaryDirectory() as folder:
        platform = _platform(folder, _MANY)
        try:
            platform.start()
            (pid,) = platform.pids("cron").values()
            # What the start costs is over
            wait_until(lambda: _cpu(pid) >= 0 and platform.status()["uptime"] > 5, 60)
            before, began = _cpu(pid), time.monotonic()
            wait_until(lambda: time.monotonic() > began + IDLE_SECONDS, IDLE_SECONDS + 10, 0.1)
            share = 100 * (_cpu(pid) - before) / (time.monotonic() - began)
        finally:
            platform.stop()
    return Figure("cron: 1000 registered jobs, idle", share, "% CPU", 2.0)


def _cpu(pid: int) -> float:
    fields: list[Any] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kills() -> Figure:
    seed = random.Random(100)
    with tempfile.TemporaryDirectory() as folder:
        clockwork = Clockwork(Platform(Path(folder)))
        try:
            clockwork.platform.start()
            for _ in range(KILLS):
                clockwork.kill("cron.0", seed, ("quick", "second", "strict", "far"))
            wait_until(lambda: not clockwork.runs("clock.far")[-1].unfinished)
            clockwork.collect_cut("far")
            runs = 0
            for name, every in (("quick", 0.1), ("second", 1.0), ("strict", 0.1), ("far", 0.2)):
                runs += len(clockwork.check(name, every))
        finally:
            clockwork.platform.stop()
    cut = sum(len(found) for found in clockwork.cut.values())
    note = f"{runs} runs, {cut} of them or of those that had not begun cut"
    return Figure(f"cron: moments lost or repeated by {KILLS} kills", 0, "", 0, note)
