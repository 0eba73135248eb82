"""The wall clock is set while a platform runs; libfaketime sets it for its processes alone."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.packages import faketime_library
from tests.platform_process import Platform
from tests.support import wait_until

HOUR, DAY = 3600, 86400
# The daily cron is due this long after the platform was made; the clock is set to just before.
AHEAD = HOUR + 120

PLUGIN = """
import os, time
from pathlib import Path
from skep import Plugin, Task, cron

DIARY = Path(os.environ["PLATFORM_DATA_DIR"]) / "diary.txt"

def note(name, n, scheduled, missed):
    line = f"{name} {n} {scheduled:.3f} {missed} {time.monotonic():.3f}\\n"
    descriptor = os.open(DIARY, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)

@cron(every="100ms")
async def quick(tick):
    note("quick", tick.n, tick.scheduled_at.timestamp(), tick.missed)

@cron("* * * * * *")
async def second(tick):
    note("second", tick.n, tick.scheduled_at.timestamp(), tick.missed)

@cron(os.environ["DAILY"])
def daily(tick):
    note("daily", tick.n, tick.scheduled_at.timestamp(), tick.missed)

@cron(os.environ["SKIPPED"])
def skipped(tick):
    note("skipped", tick.n, tick.scheduled_at.timestamp(), tick.missed)

class Later(Task):
    async def handle(self, ctx):
        note("later", 1, time.time(), 0)

@cron(every="24h", immediate=True)
async def first(tick):
    await Later().deliver(delay=1800)
    note("first", tick.n, tick.scheduled_at.timestamp(), 0)

plugin = Plugin(tasks=[Later], crons=[quick, second, daily, skipped, first])
"""


@dataclass(frozen=True)
class Note:
    """A run: its number, when it was due, how many moments it stands for, and when it began."""

    n: int
    scheduled: float
    missed: int
    monotonic: float


class Clock:
    """A platform whose wall clock can be set."""

    def __init__(self, folder: Path) -> None:
        self.due = int(time.time()) + AHEAD
        self._offset = folder / "offset"
        self.set_by(0)
        self.platform = Platform(
            folder,
            LD_PRELOAD=str(faketime_library()),
            FAKETIME_TIMESTAMP_FILE=str(self._offset),
            FAKETIME_CACHE_DURATION="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            NO_FAKE_STAT="1",
            DAILY=_at(self.due),
            SKIPPED=_at(self.due - 1800),
        )
        (self.platform.plugins / "clock.py").write_text(PLUGIN)

    def set_by(self, seconds: float) -> None:
        """Set the clock to the real time and so many seconds."""
        (written := self._offset.with_suffix(".new")).write_text(f"{seconds:+.3f}")
        written.replace(self._offset)

    def notes(self, name: str) -> list[Note]:
        diary = self.platform.data_dir / "diary.txt"
        rows = [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []
        return [
            Note(int(row[1]), float(row[2]), int(row[3]), float(row[4]))
            for row in rows
            if row[0] == name
        ]

    def next(self, name: str) -> float:
        """Return when a cron is due next, by `platform cron ls`."""
        crons = json.loads(self.platform.cli("cron", "ls", "--json").stdout)
        return next(float(one["next"]) for one in crons if one["name"] == f"clock.{name}")

    def jumps(self) -> float:
        return self.platform.counters()["platform_cron_clock_jumps_total"]


def _at(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%-S %-M %-H} * * *"


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    made = Clock(tmp_path)
    made.platform.start()
    try:
        yield made
    finally:
        made.platform.stop()


def test_a_clock_set_by_an_hour_and_back_runs_every_cron_once(clock: Clock) -> None:
    """Test 33 of the list of tasks, events and crons."""
    wait_until(lambda: clock.notes("first") and len(clock.notes("quick")) > 5)
    clock.set_by(clock.due - 3 - time.time())
    # It is due at the new time, and what was due in the hour that was skipped is due at once
    wait_until(lambda: clock.notes("daily") and clock.notes("skipped") and clock.notes("later"))
    wait_until(lambda: clock.notes("second")[-1].scheduled > clock.due)
    wait_until(lambda: clock.jumps() == 1)
    clock.set_by(0)
    # What follows the clock on the wall goes on at once; what has a fixed time does not run again
    wait_until(lambda: clock.notes("second")[-1].scheduled < clock.due - HOUR / 2)
    wait_until(lambda: clock.jumps() == 2)
    later = len(clock.notes("quick")) + 20
    wait_until(lambda: len(clock.notes("quick")) > later)
    assert [note.scheduled for note in clock.notes("daily")] == [clock.due]
    assert len(clock.notes("skipped")) == len(clock.notes("later")) == 1
    assert (clock.next("daily"), clock.next("skipped")) == (clock.due + DAY, clock.due - 1800 + DAY)
    # Neither a burst nor a stall: as many moments as there were tenths of a second
    quick = clock.notes("quick")
    assert [note.n for note in quick] == list(range(1, len(quick) + 1))
    moments = sum(1 + note.missed for note in quick[1:])
    elapsed = quick[-1].monotonic - quick[0].monotonic
    assert moments == pytest.approx(elapsed / 0.1, abs=15)
