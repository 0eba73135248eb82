"""Deliver without a pause while children are killed and replaced, and count the ends."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.acceptance.workbench import Workbench
from tests.support import wait_until

KILL_EVERY, RELOAD_EVERY = 3.0, 20.0
_BATCH = 10
_FAILING, _DELAYED = 0.05, 0.20
_LONGEST_DELAY = 3.0
_PATIENCE = 300.0


@dataclass
class Soaked:
    """What came out: what was confirmed, how often each ended, what was killed; and of the
    supervisor, the one process that is never killed, how much memory it held every second, and how
    many descriptors more it has open in the end than at first."""

    confirmed: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    reloads: int = 0
    rss: list[int] = field(default_factory=list)
    leaked: int = 0

    @property
    def missing(self) -> set[str]:
        """What was confirmed and never ended."""
        return self.confirmed - set(self.ends)

    @property
    def duplicates(self) -> int:
        """How many ends there were beyond the first of each."""
        return self.ends.total() - len(self.ends)


def soak(bench: Workbench, seconds: float, rate: float, seed: int = 35, kills: int = 0) -> Soaked:
    """Deliver `rate` tasks a second for so many seconds, and until there were so many kills, then
    wait until all have ended."""
    result, chance = Soaked(), random.Random(seed)
    before = _descriptors(bench)
    stop = threading.Event()
    acts: tuple[tuple[float, Callable[[], None]], ...] = (
        (KILL_EVERY, lambda: _kill(bench, result, chance)),
        (RELOAD_EVERY, lambda: _reload(bench, result)),
        (1.0, lambda: _look(bench, result)),
    )
    troubles = [threading.Thread(target=_every, args=(often, stop, act)) for often, act in acts]
    for trouble in troubles:
        trouble.start()
    try:
        _deliver(bench, result, random.Random(seed + 1), seconds, rate, kills)
    finally:
        stop.set()
        for trouble in troubles:
            trouble.join()
    bench.platform.wait_ready(60)
    wait_until(lambda: _is_idle(bench), 120, interval=0.5)
    # What was before the last rollout is kept for the time of its probation.
    with suppress(AssertionError):
        wait_until(lambda: _descriptors(bench) <= before, 60, interval=0.5)
    result.leaked = _descriptors(bench) - before
    result.ends = Counter(name for name in bench.names("end") if name.startswith("soak "))
    return result


def _deliver(
    bench: Workbench,
    result: Soaked,
    chance: random.Random,
    seconds: float,
    rate: float,
    kills: int,
) -> None:
    begun, batch = time.monotonic(), 0
    while (now := time.monotonic()) < begun + seconds or result.kills.total() < kills:
        assert now < begun + seconds + _PATIENCE, f"no more than {result.kills} were killed"
        due = begun + batch * _BATCH / rate
        if now < due:
            threading.Event().wait(due - now)
        names = [f"soak {batch} {n}" for n in range(_BATCH)]
        fields = [{"name": name, "fails": chance.random() < _FAILING} for name in names]
        terms = {"delay": chance.uniform(0, _LONGEST_DELAY)} if chance.random() < _DELAYED else {}
        # A web worker that is killed takes its requests along: those are not confirmed.
        with suppress(httpx.HTTPError):
            bench.post("deliver", {"task": "Soak", "fields": fields, "terms": terms})
            result.confirmed.update(names)
        batch += 1


def _every(seconds: float, stop: threading.Event, act: Callable[[], None]) -> None:
    while not stop.wait(seconds):
        act()


def _kill(bench: Workbench, result: Soaked, chance: random.Random) -> None:
    children = {**bench.platform.pids(), **{f"zygote {p}": p for p in bench.platform.zygotes()}}
    with suppress(StopIteration):  # it is being started again
        children["nursery"] = bench.platform.nursery()
    if not children:
        return
    name = chance.choice(sorted(children))
    with suppress(ProcessLookupError):
        os.kill(children[name], signal.SIGKILL)
        result.kills[name.partition(".")[0].partition(" ")[0]] += 1


def _reload(bench: Workbench, result: Soaked) -> None:
    # It may be refused, or rolled back, because what was killed was a part of it.
    result.reloads += bench.platform.cli("reload", timeout=120).returncode == 0


def _look(bench: Workbench, result: Soaked) -> None:
    pages = int((_supervisor(bench) / "statm").read_text().split()[1])
    result.rss.append(pages * os.sysconf("SC_PAGE_SIZE"))


def _descriptors(bench: Workbench) -> int:
    return len(list((_supervisor(bench) / "fd").iterdir()))


def _supervisor(bench: Workbench) -> Path:
    assert bench.platform.process is not None
    return Path(f"/proc/{bench.platform.process.pid}")


def _is_idle(bench: Workbench) -> bool:
    waits = ("ready", "scheduled", "leased", "blocked")
    return not any(row[state] for row in bench.verb("queue", "ls") for state in waits)
