"""The counters of tasks say how tasks ended, also when workers and the store are killed meanwhile.

What is compared with is what the tasks have written down themselves, and the rows of dead letters.
"""

import itertools
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from skep.engine.contract import DeliveryRow, Engine
from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until

KILLS = 10
# How many end between two kills.
PROGRESS = 40
SCHEDULE = 12


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with workbench(tmp_path, PLATFORM_TASK_CONCURRENCY="16") as made:
        yield made


def total(bench: Workbench, sample: str, **labels: str) -> float:
    """The sum of the platform's counters of this name that carry these labels."""
    wanted = {f'{name}="{value}"' for name, value in labels.items()}
    return sum(
        value
        for name, value in bench.platform.counters().items()
        if name.startswith(f"platform_{sample}{{")
        and wanted <= set(name.partition("{")[2].rstrip("}").split(","))
    )


def gauge(bench: Workbench, name: str) -> float:
    rows = [line.rpartition(" ") for line in bench.platform.metrics().splitlines()]
    return sum(float(value) for key, _, value in rows if key.startswith(f"platform_{name}"))


class Deliveries:
    """Clients that deliver, whatever is killed, until they are stopped."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(3)]

    def __enter__(self) -> "Deliveries":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._bench.platform.url, timeout=30) as http:
            for n in itertools.takewhile(lambda _: not self._stop.is_set(), itertools.count()):
                name = f"{number}-{n}"
                work = {"task": "Work", "fields": [{"name": name, "seconds": 0.01}] * 3}
                fails = {"task": "Fails", "fields": [{"name": name, "times": 9}]}
                for path, body in (
                    ("deliver", work),
                    ("deliver", fails),
                    ("fire", {"name": name, "stop": n % 2 == 0}),
                ):
                    # What was not confirmed may be there all the same: the diary knows.
                    http.post(f"/bench/{path}", json=body)


def kill(bench: Workbench, slot: str) -> None:
    """kill -9 the process of a slot, and wait for its successor and for the next tasks to end."""
    before = wait_until(lambda: bench.platform.pids(slot))
    ended = len(bench.names("end"))
    for pid in before.values():
        bench.platform.kill(pid)
    wait_until(lambda: len(bench.names("end")) > ended + PROGRESS, 60)
    wait_until(lambda: set(bench.platform.pids(slot).values()) - set(before.values()), 60)


def letters(bench: Workbench) -> list[DeliveryRow]:
    """All dead letters."""

    async def scan(engine: Engine) -> list[DeliveryRow]:
        rows: list[DeliveryRow] = []
        while page := await engine.scan("default", "dead", rows[-1].place if rows else "", 500):
            rows += page
        return rows

    return bench.ask(scan)


def is_idle(bench: Workbench) -> bool:
    stats = bench.ask(lambda engine: engine.stats()).values()
    return not any(one.ready or one.scheduled or one.leased or one.blocked for one in stats)


def _step(row: DeliveryRow) -> str:
    """The name of a dead letter in metrics."""
    headers, name = row.envelope.headers, row.envelope.name
    step = headers.get("step", "")
    return headers.get("listener") or (f"{name}.{step}" if step else name)


def compare(bench: Workbench) -> None:
    """Compare all counters with the diary and the dead letters."""
    dead = letters(bench)
    lost: defaultdict[str, set[str]] = defaultdict(set)
    for row in dead:
        lost[_step(row)].add(row.envelope.headers.get("origin", row.envelope.id))
    assert total(bench, "tasks_dead_total") == len(dead)
    for step, deliveries in lost.items():
        assert total(bench, "tasks_dead_total", task=step) == len(deliveries), step
    # A delivery has one success, however often it ran, or is a dead letter
    for what, step in (("end", "bench.Work"), ("finish", "bench.Work.finish")):
        ended = {entry["id"] for entry in bench.diary(what)} - lost[step]
        assert total(bench, "tasks_total", task=step, outcome="success") == len(ended), step
    # Each attempt of what fails has failed but the one in which the last worker died
    fails = [row for row in dead if row.envelope.name == "bench.Fails"]
    failures = sum(row.attempt - (row.reason == "worker_lost") for row in fails)
    assert total(bench, "tasks_total", task="bench.Fails", outcome="failure") == failures
    assert total(bench, "task_retries_total", task="bench.Fails") == sum(
        row.attempt - 1 for row in fails
    )
    # And each event was handled or skipped by each listener once
    events = {entry["name"] for entry in bench.diary("first")}
    for listener in ("bench.First", "bench.Third"):
        assert total(bench, "event_deliveries_total", listener=listener) == len(events), listener


def test_every_end_of_a_task_is_counted_once_whoever_is_killed(bench: Workbench) -> None:
    """B21: workers and the store are killed in an order by chance."""
    victims = [*["store.0"] * (KILLS // 3), *["task.0", "task.1"] * KILLS][:KILLS]
    random.Random(SCHEDULE).shuffle(victims)
    with Deliveries(bench):
        for victim in victims:
            kill(bench, victim)
    wait_until(lambda: is_idle(bench), 120)
    # At the first scrape after the last one has ended, and of a platform that was started again
    compare(bench)
    assert gauge(bench, "tasks_queued") == 0
    assert gauge(bench, "events_pending") == 0
    assert gauge(bench, "task_dead_letters") == len(letters(bench)) > 0
    bench.platform.cli("stop")
    bench.platform.wait_end()
    bench.platform.start()
    compare(bench)
