"""What becomes of tasks when those who run, keep or supervise them are killed or replaced."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.workbench import Workbench, workbench
from tests.load import Load
from tests.support import wait_until

CONCURRENCY = 64
# What two task workers can run at a time.
AT_A_TIME = 2 * CONCURRENCY


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(
        tmp_path_factory.mktemp("chaos"),
        PLATFORM_DRAIN_TIMEOUT="4",
        PLATFORM_TASK_CONCURRENCY=str(CONCURRENCY),
    ) as made:
        yield made


def begun(bench: Workbench, prefix: str) -> list[str]:
    return [name for name in bench.names("start") if name.startswith(prefix)]


def ended(bench: Workbench, prefix: str) -> Counter[str]:
    return Counter(name for name in bench.names("end") if name.startswith(prefix))


def kill_everything(bench: Workbench) -> None:
    """kill -9 the supervisor and every child."""
    bench.platform.kill_tree()
    assert bench.platform.process is not None
    bench.platform.process.wait()
    bench.platform.process = None


def stop(bench: Workbench) -> None:
    bench.platform.cli("stop")
    bench.platform.wait_end()


@pytest.mark.parametrize("end", [stop, kill_everything])
def test_a_delay_outlives_the_platform(bench: Workbench, end: Callable[[Workbench], None]) -> None:
    """Tasks, case 3: the queue is idle but for this one."""
    name, before = f"c3 {end.__name__}", time.time()
    bench.deliver("Work", {"name": name}, delay=2.5)
    end(bench)
    bench.platform.start()
    (start,) = bench.wait("start", name)
    assert start["at"] - before >= 2.5
    bench.wait("finish", name)
    assert len(bench.diary("start", name)) == 1


def test_a_task_whose_worker_is_killed_begins_again_and_ends_once(
    bench: Workbench,
) -> None:
    """Tasks, case 21."""
    # Given a task at work on one worker, others on both, and nothing else in the queue
    siblings = [f"c21 {n}" for n in range(20)]
    bench.deliver("Work", *({"name": name, "seconds": 4} for name in siblings))
    wait_until(lambda: len(begun(bench, "c21 ")) == len(siblings))
    (delivery,) = bench.deliver("Work", {"name": "c21", "seconds": 2})
    (start,) = bench.wait("start", "c21")
    bench.platform.kill(start["pid"])
    again = bench.wait("start", "c21", 2)[1]
    row = bench.find(delivery)
    assert row is not None
    assert row.losses == 1
    bench.wait("finish", "c21")
    assert (again["attempt"], len(bench.diary("end", "c21"))) == (1, 1)
    assert again["pid"] != start["pid"]
    # And those on the other worker go on as if nothing had happened
    wait_until(lambda: set(ended(bench, "c21 ")) == set(siblings), 30)
    for name in siblings:
        first, *more = bench.diary("start", name)
        assert len(more) == (first["pid"] == start["pid"])
    assert set(ended(bench, "c21 ").values()) == {1}


def test_a_task_that_kills_its_workers_is_given_up_and_its_neighbours_end(
    bench: Workbench,
) -> None:
    """Tasks, case 22."""
    (delivery,) = bench.deliver("Poison", {"name": "c22 poison"})
    bench.deliver("Work", *({"name": f"c22 {n}", "seconds": 0.1} for n in range(100)))
    wait_until(lambda: len(ended(bench, "c22 ")) == 100, 30)
    letter = wait_until(lambda: _letter(bench, delivery))
    assert (letter["reason"], letter["losses"]) == ("worker_lost", 3)
    assert len(bench.diary("start", "c22 poison")) == 3
    bench.platform.wait_ready()


def _letter(bench: Workbench, delivery: str) -> Any:
    return {one["id"]: one for one in bench.verb("dead", "ls")}.get(delivery)


def test_after_everything_was_killed_every_task_ends(bench: Workbench) -> None:
    """Tasks, case 23."""
    number = 1010
    bench.deliver("Work", *({"name": f"c23 {n}", "seconds": 0.5} for n in range(number)))
    wait_until(lambda: len(begun(bench, "c23 ")) >= 10)
    # When the supervisor and every child are killed, while some run and most wait
    kill_everything(bench)
    bench.platform.start()
    wait_until(lambda: len(ended(bench, "c23 ")) == number, 60)
    # Then none is missing, and none was begun again but those that ran, or had ended and could not
    # tell the store any more
    assert len(begun(bench, "c23 ")) - number <= AT_A_TIME


def test_every_confirmed_task_runs_when_the_store_is_killed_under_load(
    bench: Workbench,
) -> None:
    """Tasks, case 24."""
    confirmed: list[str] = []
    stop = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(timeout=30) as http:
            for n in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                name = f"c24 {number}-{n}"
                body = {"task": "Work", "fields": [{"name": name}]}
                answer = http.post(f"{bench.platform.url}/bench/deliver", json=body)
                if answer.status_code == 200:
                    confirmed.append(name)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()
    try:
        for goal in (300, 600, 900):
            wait_until(lambda goal=goal: len(confirmed) >= goal, 60)  # type: ignore[misc]
            (store,) = wait_until(lambda: list(bench.platform.pids("store").values()))
            bench.platform.kill(store)
        wait_until(lambda: len(confirmed) >= 1200, 60)
    finally:
        stop.set()
        for one in clients:
            one.join()
    wait_until(lambda: set(ended(bench, "c24 ")) >= set(confirmed), 30)
    twice = [name for name, times in Counter(begun(bench, "c24 ")).items() if times > 1]
    assert len(twice) <= 3 * AT_A_TIME


def test_rollouts_lose_no_task_and_run_none_twice(bench: Workbench) -> None:
    """Tasks, case 25."""
    generation = bench.platform.status()["generation"]
    bench.deliver("Work", *({"name": f"c25 {n}", "seconds": n % 20 / 10} for n in range(1000)))
    (long,) = bench.deliver("Work", {"name": "c25 long", "seconds": 12})
    bench.wait("start", "c25 long", deadline=30)
    with Load(bench.platform.url, "/bench/none", clients=1) as load:
        for _ in range(3):
            assert bench.platform.cli("reload").returncode == 0
        wait_until(lambda: len(ended(bench, "c25 ")) >= 1000, 60)
    assert bench.platform.status()["generation"] == generation + 3
    assert load.failures == []
    # None has run twice but the one that took longer than a drain may
    bench.wait("end", "c25 long", deadline=40)
    times = Counter(begun(bench, "c25 "))
    assert {name for name, number in times.items() if number > 1} == {"c25 long"}
    assert {entry["attempt"] for entry in bench.diary("start", "c25 long")} == {1}
    assert set(ended(bench, "c25 ").values()) == {1}
    assert long
