"""The cases of lifecycle that name a size, at that size: fifty reloads (33), a cron each second
over them (36), 10 000 datagrams a second over ten (39), two hundred recycled workers (29, 45).

Nothing here is about speed: each bar is 0.
"""

import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.test_reload import CALM
from tests.benchmarks.figures import Figure
from tests.load import Load
from tests.platform_process import Platform, running
from tests.support import wait_until

RELOADS, FIRED_RELOADS, RECYCLED = 50, 10, 200
# Reloads before the first look, and MiB by which all processes may differ from one to another time.
WARM, MEMORY = 5, 10
PER_SECOND, PER_BURST = 10_000, 100
MAX_REQUESTS = "1000"
PACKETS = """
from skep import Plugin, UdpHandler, UdpListener

class Packets(UdpHandler):
    async def on_packet(self, packet):
        pass

plugin = Plugin(sockets=[UdpListener(Packets, name="all")])
"""
# Its columns change with every fifth reload, so that old versions of the table have to go.
TABLE = """
from skep import Atomic, Plugin, Process, Str, Table, cron

class Seen(Table, rows=1000, index="who", ttl=2):
    {column}: int
    who: Str[32]

@cron(every="50ms")
def see(tick):
    number = Atomic("seen").add()
    Seen.set(str(number), who=str(number % 7))
    Seen.where(who="3")

class Echo(Process, num=2):
    async def run(self, ctx):
        async for message in ctx.messages():
            await message.reply(message.body)

class Program(Process, command=["sleep", "1000"]): ...

plugin = Plugin(tables=[Seen], crons=[see], processes=[Echo, Program])
"""
# Seconds. An old version of a table is removed when both are over, or 15.
_PATIENCE = {"PLATFORM_PROBATION": "5", "PLATFORM_DRAIN_TIMEOUT": "10"}


@dataclass
class Size:
    """What a platform takes of the machine: processes, their descriptors and own memory (MiB),
    files of the data directory, lines of /metrics."""

    processes: int
    descriptors: int
    memory: float
    files: int
    lines: int

    @classmethod
    def of(cls, platform: Platform) -> "Size":
        """Return it as it is now."""
        pids = platform.tree()
        files = sum(path.is_file() for path in platform.data_dir.rglob("*"))
        lines = len(platform.metrics().splitlines())
        uses = [_use(pid) for pid in pids]
        return cls(len(pids), sum(u[0] for u in uses), sum(u[1] for u in uses), files, lines)


def _use(pid: int) -> tuple[int, float]:
    """Return descriptors and MiB of a process that may have ended."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        own = sum(int(n) for n in re.findall(r"^Private_Dirty: +(\d+)", text, re.M))
        return len(os.listdir(f"/proc/{pid}/fd")), own / 1024
    return 0, 0.0


def measure() -> Iterator[Figure]:
    """Give what was lost, left or counted wrong."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _reloads(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _recycles(Path(folder))


def _reloads(folder: Path) -> Iterator[Figure]:
    with _platform(folder, **_PATIENCE) as platform:
        for _ in range(WARM):
            _reload(platform)
        _settle(platform, 1 + WARM)
        before = _least(platform, Size(0, 0, 0, 0, 0), 15)
        counters = platform.counters()
        back = lines = 0
        with Load(platform.url, clients=2) as load:
            for number in range(RELOADS):
                if number % 5 == 4:
                    _write_table(folder, f"column_{number % 2}")
                _reload(platform)
                if number % 10 == 9:
                    now, lines = platform.counters(), lines or Size.of(platform).lines
                    back += sum(now.get(name, 0) < value for name, value in counters.items())
                    counters = now
        _settle(platform, RELOADS + 1 + WARM)
        after = _least(platform, before)
        old = _old_versions(platform)
        note = f"of {len(load.answers)}"
        yield Figure(f"failed requests in {RELOADS} reloads", len(load.failures), "", 0, note)
        yield Figure("counters that went back", back, "", 0, f"of {len(counters)}")
        yield Figure("processes left", after.processes - before.processes, "", 0)
        yield Figure("descriptors left", after.descriptors - before.descriptors, "", 0)
        yield Figure("files left", after.files - before.files, "", 0, f"of {before.files}")
        more, note = after.memory - before.memory, f"of {before.memory:.1f}"
        yield Figure("own memory of all processes left", more, "MiB", MEMORY, note)
        yield Figure("old versions of tables left", old, "", 0)
        # What is counted for the first time has a line from then on: ten reloads have seen it all
        yield Figure("lines more in /metrics", max(0, after.lines - lines), "", 0, f"of {lines}")
        sent = _fire(platform)
        lost = sent - _packets(platform, sent)
        yield Figure(f"datagrams lost in {FIRED_RELOADS} reloads", lost, "", 0, f"of {sent}")
        beats = [int(x) for x in (platform.data_dir / "beats.txt").read_text().split()]
    wrong = len(set(range(beats[0], beats[-1] + 1)) ^ set(beats)) + len(beats) - len(set(beats))
    yield Figure("seconds without a beat, or with two", wrong, "", 0, f"of {len(beats)}")


def _recycles(folder: Path) -> Iterator[Figure]:
    with _platform(folder, PLATFORM_MAX_REQUESTS=MAX_REQUESTS) as platform:
        before = Size.of(platform)
        counters, back, least = platform.counters(), 0, 2
        with Load(platform.url, clients=4) as load:
            while len({a.body["pid"] for a in load.answers}) < RECYCLED:
                ready = [row for row in platform.status()["slots"] if row["state"] == "ready"]
                least = min(least, sum(row["slot"].startswith("web.") for row in ready))
                now = platform.counters()
                back += sum(now.get(name, 0) < value for name, value in counters.items())
                counters = now
        after = _least(platform, before)
    note = f"of {len(load.answers)}"
    yield Figure(f"failed requests in {RECYCLED} recycles", len(load.failures), "", 0, note)
    yield Figure("workers that were missing", 2 - least, "", 0)
    yield Figure("counters that went back in recycles", back, "", 0, f"of {len(counters)}")
    yield Figure("processes left by recycles", after.processes - before.processes, "", 0)
    yield Figure("descriptors left by recycles", after.descriptors - before.descriptors, "", 0)


@contextmanager
def _platform(folder: Path, **environment: str) -> Iterator[Platform]:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "calm.py").write_text(CALM)
    (folder / "plugins" / "packets.py").write_text(PACKETS)
    _write_table(folder, "column_0")
    with running(folder, **environment) as platform:
        yield platform


def _reload(platform: Platform) -> None:
    done = platform.cli("reload")
    assert done.returncode == 0, done.stderr


def _settle(platform: Platform, generation: int) -> None:
    """Wait until no worker of another generation is left."""
    wait_until(lambda: all(n.endswith(f"@{generation}") for n in platform.pids("web.")), 30)


def _least(platform: Platform, before: Size, seconds: float = 60.0) -> Size:
    """Return how small it becomes: what was before the last rollout is kept for its probation."""
    end, least = time.monotonic() + seconds, None
    while True:
        size = Size.of(platform)
        if least is None or (size.processes, size.descriptors) <= (
            least.processes,
            least.descriptors,
        ):
            least = size
        small = (
            least.processes <= before.processes
            and least.descriptors <= before.descriptors
            and least.files <= before.files
        )
        if small or time.monotonic() >= end:
            return least
        time.sleep(0.5)


def _old_versions(platform: Platform) -> int:
    """Return how many versions of tables are left that no process uses."""
    end = time.monotonic() + 60
    while True:
        listed = json.loads(platform.cli("table", "ls", "--json").stdout)
        old = sum(not one["newest"] for one in listed)
        if not old or time.monotonic() >= end:
            return old
        time.sleep(0.5)


def _write_table(folder: Path, column: str) -> None:
    (folder / "plugins" / "seen.py").write_text(TABLE.format(column=column))


def _fire(platform: Platform) -> int:
    """Send datagrams while it reloads; return how many."""
    port = int(platform.status()["listeners"]["packets.all"].rpartition(":")[2])
    stop, sent = threading.Event(), 0

    def fire() -> None:
        nonlocal sent
        begun = time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.is_set():
                for _ in range(PER_BURST):
                    sock.sendto(b"x" * 64, ("127.0.0.1", port))
                sent += PER_BURST
                stop.wait(max(0.0, begun + sent / PER_SECOND - time.monotonic()))

    firing = threading.Thread(target=fire)
    firing.start()
    try:
        for _ in range(FIRED_RELOADS):
            _reload(platform)
    finally:
        stop.set()
        firing.join()
    return sent


def _packets(platform: Platform, sent: int) -> int:
    """Return how many were counted, after the last has had its time."""
    name = 'platform_socket_frames_total{listener="packets.all"}'
    end = time.monotonic() + 20
    while (counted := platform.counters().get(name, 0)) < sent and time.monotonic() < end:
        time.sleep(0.2)
    return int(counted)
