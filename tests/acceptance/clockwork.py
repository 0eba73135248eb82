"""A platform with crons that write down their runs, and what became of each moment."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from skep.table.binding import Tables
from skep.table.journal import CronJournal, CronRun, CronState
from tests.platform_process import Platform
from tests.support import PATIENCE, wait_until

T = TypeVar("T")

PLUGIN = """
import asyncio, os, time
from pathlib import Path
from skep import CronJob, Plugin, cron

DIARY = Path(os.environ["PLATFORM_DATA_DIR"]) / "crons.txt"

def note(name, tick):
    line = f"{name} {tick.n} {tick.scheduled_at.timestamp():.6f} {tick.missed} {os.getpid()}\\n"
    descriptor = os.open(DIARY, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line.encode())
    os.close(descriptor)

@cron(every="100ms")
async def quick(tick):
    note("quick", tick)
    await asyncio.sleep(0.03)

@cron("* * * * * *")
def second(tick):
    note("second", tick)

@cron(every="200ms", run_in="task")
async def far(tick):
    note("far", tick)
    await asyncio.sleep(0.02)

@cron(every="8s")
async def daily(tick):
    note("daily", tick)

@cron(every="100ms", misfire="skip", grace="10ms")
async def strict(tick):
    note("strict", tick)

@cron("*/2 * * * * *", misfire="once", grace="10ms")
async def made_up(tick):
    note("made_up", tick)

@cron(every="1h")
async def hang(tick):
    note("hang", tick)
    time.sleep(60)

class Shy(CronJob):
    every = "50ms"

    async def run(self, tick):
        note("shy", tick)
        if tick.n % 3 == 0:
            self.stop()

@cron(every="1h")
def broken(tick):
    note("broken", tick)
    raise ValueError("no\\nsecond line")

plugin = Plugin(
    crons=[quick, second, far, daily, strict, made_up, hang, Shy, broken],
)
"""


@dataclass(frozen=True)
class Note:
    """A run that began: what its handler was given."""

    n: int
    scheduled: float
    missed: int
    pid: int


class Clockwork:
    """A platform with these crons."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        (platform.plugins / "clock.py").write_text(PLUGIN)
        self.cut: dict[str, dict[int, CronRun]] = {}

    def notes(self, name: str) -> list[Note]:
        """Return the runs of a cron that have begun."""
        diary = self.platform.data_dir / "crons.txt"
        rows = [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []
        return [
            Note(int(row[1]), float(row[2]), int(row[3]), int(row[4]))
            for row in rows
            if row[0] == name
        ]

    def runs(self, name: str) -> list[CronRun]:
        """Return what the journal has of the last runs of a cron."""
        return _read(self.platform.data_dir / "tables", lambda journal: journal.runs(name))

    def state(self, name: str) -> CronState:
        return _read(self.platform.data_dir / "tables", CronJournal.states)[name]

    def wait_for(self, name: str, more: int = 1, deadline: float = PATIENCE) -> list[Note]:
        """Wait until a cron has begun so many runs more; return all of them."""
        wanted = len(self.notes(name)) + more
        wait_until(lambda: len(self.notes(name)) >= wanted, deadline)
        return self.notes(name)

    def collect_cut(self, *names: str) -> None:
        """Note which of the last runs were cut: the journal has the last twenty only."""
        for name in names:
            cut = {run.n: run for run in self.runs(f"clock.{name}") if _is_cut(run)}
            self.cut.setdefault(name, {}).update(cut)

    def kill(self, slot: str, seed: random.Random, names: tuple[str, ...]) -> None:
        """Kill a worker at a random moment, once it has served; wait until another serves."""
        (before,) = self.platform.pids(slot).values()
        moment = time.monotonic() + 0.55 + seed.random() * 0.2
        wait_until(lambda: time.monotonic() >= moment, interval=0.001)
        os.kill(before, signal.SIGKILL)

        def pid() -> int | None:
            return next(iter(self.platform.pids(slot).values()), None)

        wait_until(lambda: pid() not in (None, before))
        self.wait_for(names[0])
        self.collect_cut(*names)

    def check(self, name: str, every: float) -> list[Note]:
        """Check that every moment had one run, or was counted as missed, or its run was cut; return
        the runs that began."""
        notes, cut = self.notes(name), self.cut.get(name, {})
        begun = {note.n: (note.scheduled, note.missed) for note in notes}
        assert len(begun) == len(notes), "a run began twice"
        for n, run in cut.items():
            begun.setdefault(n, (run.scheduled, run.missed))
        numbers = sorted(begun)
        assert numbers == list(range(1, numbers[-1] + 1)), "a run is not known"
        moments = [begun[n] for n in numbers]
        for (before, _), (after, missed) in itertools.pairwise(moments):
            steps = (after - before) / every
            assert abs(steps - (missed + 1)) < 0.2, (name, before, after, missed)
        return notes


def _is_cut(run: CronRun) -> bool:
    return run.outcome in ("interrupted", "hung", "cancelled")


def _read(folder: Path, question: Callable[[CronJournal], T]) -> T:
    tables = Tables(folder)
    try:
        return question(CronJournal(tables))
    finally:
        tables.close()
