"""The cases of lifecycle that name a size, at that size: fifty reloads (33), a cron each second
over them (36), 10 000 datagrams a second over ten (39), two hundred recycled workers (29, 45).

Nothing here is about speed: each bar is 0.
"""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.test_reload import CALM
from tests.benchmarks.figures import Figure
from tests.load import Load
from tests.platform_process import Platform, running
from tests.support import wait_until

RELOADS, FIRED_RELOADS, RECYCLED = 50, 10, 200
PER_SECOND, PER_BURST = 10_000, 100
MAX_REQUESTS = "1000"
PACKETS = """
from skep import Plugin, UdpHandler, UdpListener

class Packets(UdpHandler):
    async def on_packet(self, packet):
        pass

plugin = Plugin(sockets=[UdpListener(Packets, name="all")])
"""


@dataclass
class Size:
    """What a platform takes of the machine: processes, descriptors of the supervisor, lines of
    /metrics."""

    processes: int
    descriptors: int
    lines: int

    @classmethod
    def of(cls, platform: Platform) -> "Size":
        """Return it as it is now."""
        assert platform.process is not None
        descriptors = len(os.listdir(f"/proc/{platform.process.pid}/fd"))
        return cls(len(platform.tree()), descriptors, len(platform.metrics().splitlines()))


def measure() -> Iterator[Figure]:
    """Give what was lost, left or counted wrong."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _reloads(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _recycles(Path(folder))


def _reloads(folder: Path) -> Iterator[Figure]:
    with _platform(folder) as platform:
        _reload(platform)
        _settle(platform, 2)
        before, counters = Size.of(platform), platform.counters()
        back = lines = 0
        with Load(platform.url, clients=2) as load:
            for number in range(RELOADS):
                _reload(platform)
                if number % 10 == 9:
                    now, lines = platform.counters(), lines or Size.of(platform).lines
                    back += sum(now.get(name, 0) < value for name, value in counters.items())
                    counters = now
        _settle(platform, RELOADS + 2)
        after = _least(platform, before)
        note = f"of {len(load.answers)}"
        yield Figure(f"failed requests in {RELOADS} reloads", len(load.failures), "", 0, note)
        yield Figure("counters that went back", back, "", 0, f"of {len(counters)}")
        yield Figure("processes left", after.processes - before.processes, "", 0)
        yield Figure("descriptors left", after.descriptors - before.descriptors, "", 0)
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
    with running(folder, **environment) as platform:
        yield platform


def _reload(platform: Platform) -> None:
    done = platform.cli("reload")
    assert done.returncode == 0, done.stderr


def _settle(platform: Platform, generation: int) -> None:
    """Wait until no worker of another generation is left."""
    wait_until(lambda: all(n.endswith(f"@{generation}") for n in platform.pids("web.")), 30)


def _least(platform: Platform, before: Size) -> Size:
    """Return how small it becomes: what was before the last rollout is kept for its probation."""
    end = time.monotonic() + 60
    while True:
        size = Size.of(platform)
        small = size.processes <= before.processes and size.descriptors <= before.descriptors
        if small or time.monotonic() >= end:
            return size
        time.sleep(0.5)


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
