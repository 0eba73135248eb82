"""The counters of tasks say how tasks ended, also when workers and the store are killed meanwhile.

What is compared with is what the tasks have written down themselves, and the rows of dead letters.
"""

import itertools
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from skep.engine.contract import DeliveryRow, Engine
from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until

# Longer than a client tries to put: what is put again after it has ended would end twice.
DELAY = 11
TILL = f"""
import asyncio, json, os
from pathlib import Path
from skep import Backoff, Event, Listener, Plugin, Task
from starlette.responses import JSONResponse
from starlette.routing import Route

DIARY = Path(os.environ["PLATFORM_DATA_DIR"]) / "diary"

def write(what, name, id):
    with DIARY.open("ab", buffering=0) as file:
        file.write(json.dumps({{"what": what, "name": name, "id": id}}).encode() + b"\\n")

class Work(Task):
    async def handle(self, ctx):
        await asyncio.sleep(0.01)
        write("end", "work", ctx.id)
        return 1

    async def finish(self, result, ctx):
        write("finish", "work", ctx.id)

class Fails(Task):
    tries = 3
    backoff = Backoff(first=0.05, cap=1.0)

    async def handle(self, ctx):
        raise ValueError("boom")

class Paid(Event):
    stop: bool

class First(Listener[Paid]):
    async def handle(self, event, ctx):
        write("first", "paid", ctx.id)

class Second(Listener[Paid]):
    def handle(self, event, ctx):
        return not event.stop

class Third(Listener[Paid]):
    async def handle(self, event, ctx):
        write("third", "paid", ctx.id)

async def deliver(request):
    await Task.deliver_many([Work(), Work(), Work(), Fails()], delay={DELAY})
    await Paid(stop=request.path_params["n"] % 2 == 0).fire(delay={DELAY})
    return JSONResponse({{}})

plugin = Plugin(
    routes=[Route("/deliver/{{n:int}}", deliver, methods=["POST"])],
    tasks=[Work, Fails], events=[Paid], listeners=[First, Second, Third],
)
"""
# `make bench` kills more often.
KILLS = 4
# How many end between two kills.
PROGRESS = 40
SCHEDULE = 12


@contextmanager
def till(folder: Path) -> Iterator[Workbench]:
    """Start a platform that has the plugin of this module."""
    (plugin := folder / "till.py").write_text(TILL)
    with workbench(folder, plugins=[plugin], PLATFORM_TASK_CONCURRENCY="16") as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with till(tmp_path) as made:
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
    """The sum of a gauge over its labels."""
    rows = [line.rpartition(" ") for line in bench.platform.metrics().splitlines()]
    return sum(float(value) for key, _, value in rows if key.startswith(f"platform_{name}"))


class Deliveries:
    """Clients that deliver, whatever is killed, until they are stopped."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> "Deliveries":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._bench.platform.url, timeout=30) as http:
            for n in itertools.takewhile(lambda _: not self._stop.is_set(), itertools.count()):
                # What was not confirmed may be there all the same: the diary knows.
                http.post(f"/deliver/{n}")
                self._stop.wait(0.02)


def kill(bench: Workbench, slot: str) -> None:
    """kill -9 the process of a slot, and wait for its successor and for the next tasks to end."""
    before = wait_until(lambda: bench.platform.pids(slot))
    ended = len(bench.diary("end", "work"))
    for pid in before.values():
        bench.platform.kill(pid)
    wait_until(lambda: len(bench.diary("end", "work")) > ended + PROGRESS, 60)
    wait_until(lambda: set(bench.platform.pids(slot).values()) - set(before.values()), 60)


def kill_in_turn(bench: Workbench, kills: int) -> None:
    """Deliver while so many processes are killed, and until all that was delivered has ended."""
    victims = [*["store.0"] * (kills // 3), *["task.0", "task.1"] * kills][:kills]
    random.Random(SCHEDULE).shuffle(victims)
    with Deliveries(bench):
        wait_until(lambda: bench.diary("end", "work"), 60)
        for victim in victims:
            kill(bench, victim)
    wait_until(lambda: is_idle(bench), 120)


def letters(bench: Workbench) -> list[DeliveryRow]:
    """All dead letters."""

    async def scan(engine: Engine) -> list[DeliveryRow]:
        rows: list[DeliveryRow] = []
        while page := await engine.scan("default", "dead", rows[-1].place if rows else "", 500):
            rows += page
        return rows

    return bench.ask(scan)


def is_idle(bench: Workbench) -> bool:
    """Whether nothing waits and nothing runs."""
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
    for step, deliveries in lost.items():
        assert total(bench, "tasks_dead_total", task=step) == len(deliveries), step
    assert total(bench, "tasks_dead_total") == len(dead)
    # A delivery has one success, however often it ran, or is a dead letter
    for what, step in (("end", "till.Work"), ("finish", "till.Work.finish")):
        ended = {entry["id"] for entry in bench.diary(what, "work")} - lost[step]
        assert total(bench, "tasks_total", task=step, outcome="success") == len(ended), step
    # Each attempt of what fails has failed but the one in which the last worker died
    fails = [row for row in dead if row.envelope.name == "till.Fails"]
    failures = sum(row.attempt - (row.reason == "worker_lost") for row in fails)
    assert total(bench, "tasks_total", task="till.Fails", outcome="failure") == failures
    retries = sum(row.attempt - 1 for row in fails)
    assert total(bench, "task_retries_total", task="till.Fails") == retries
    # And each event was handled or skipped by each listener once
    events = {entry["id"] for entry in bench.diary("first", "paid")} | lost["till.First"]
    for listener in ("till.First", "till.Second", "till.Third"):
        assert total(bench, "event_deliveries_total", listener=listener) == len(events), listener
    thirds = {entry["id"] for entry in bench.diary("third", "paid")} - lost["till.Third"]
    done = {"listener": "till.Third", "outcome": "success"}
    assert total(bench, "event_deliveries_total", **done) == len(thirds)


def test_every_end_of_a_task_is_counted_once_whoever_is_killed(bench: Workbench) -> None:
    """B21: workers and the store are killed in an order by chance."""
    kill_in_turn(bench, KILLS)
    # At the first scrape after the last one has ended, and of a platform that was started again
    compare(bench)
    assert gauge(bench, "tasks_queued") == 0
    assert gauge(bench, "events_pending") == 0
    assert gauge(bench, "task_dead_letters") == len(letters(bench)) > 0
    bench.platform.cli("stop")
    bench.platform.wait_end()
    bench.platform.start()
    compare(bench)
