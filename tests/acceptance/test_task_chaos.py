"""What becomes of tasks when those who run, keep or supervise them are killed or replaced."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.workbench import Workbench, workbench
from tests.load import Load
from tests.support import wait_until

# What two task workers can run at a time.
AT_A_TIME = 2 * 16


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("chaos"), PLATFORM_DRAIN_TIMEOUT="4") as made:
        yield made


def begun(bench: Workbench, prefix: str) -> list[str]:
    return [name for name in bench.names("start") if name.startswith(prefix)]


def ended(bench: Workbench, prefix: str) -> Counter[str]:
    return Counter(name for name in bench.names("end") if name.startswith(prefix))


def test_case_03_a_delay_outlives_the_platform(bench: Workbench) -> None:
    before = time.time()
    bench.deliver("Work", {"name": "c3"}, delay=2.5)
    bench.platform.cli("stop")
    bench.platform.wait_end()
    bench.platform.start()
    (start,) = bench.wait("start", "c3")
    assert start["at"] - before >= 2.5
    bench.wait("finish", "c3")
    assert len(bench.diary("start", "c3")) == 1


def test_case_21_a_task_whose_worker_is_killed_begins_again_and_ends_once(
    bench: Workbench,
) -> None:
    # Given a task at work on one worker, others on both, and nothing else in the queue
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


def test_case_22_a_task_that_kills_its_workers_is_given_up_and_its_neighbours_end(
    bench: Workbench,
) -> None:
    (delivery,) = bench.deliver("Poison", {"name": "c22 poison"})
    bench.deliver("Work", *({"name": f"c22 {n}", "seconds": 0.1} for n in range(100)))
    wait_until(lambda: len(ended(bench, "c22 ")) == 100, 30)
    letter = wait_until(lambda: _letter(bench, delivery), 20)
    assert (letter["reason"], letter["losses"]) == ("worker_lost", 3)
    assert len(bench.diary("start", "c22 poison")) == 3
    bench.platform.wait_ready()


def _letter(bench: Workbench, delivery: str) -> Any:
    return {one["id"]: one for one in bench.verb("dead", "ls")}.get(delivery)


def test_case_23_after_everything_was_killed_every_task_ends(bench: Workbench) -> None:
    bench.deliver("Work", *({"name": f"c23 {n}", "seconds": 0.3} for n in range(300)))
    wait_until(lambda: len(begun(bench, "c23 ")) >= 10)
    # When the supervisor and every child are killed
    for pid in bench.platform.tree():
        os.kill(pid, signal.SIGKILL)
    assert bench.platform.process is not None
    bench.platform.process.wait()
    bench.platform.process = None
    bench.platform.start()
    wait_until(lambda: len(ended(bench, "c23 ")) == 300, 30)
    assert len(begun(bench, "c23 ")) - 300 <= AT_A_TIME


def test_case_24_every_confirmed_task_runs_when_the_store_is_killed_under_load(
    bench: Workbench,
) -> None:
    confirmed: list[str] = []
    stop = threading.Event()

    def client(number: int) -> None:
        for n in range(10_000):
            if stop.is_set():
                return
            name = f"c24 {number}-{n}"
            body = {"task": "Work", "fields": [{"name": name}]}
            answer = httpx.post(f"{bench.platform.url}/bench/deliver", json=body, timeout=30)
            if answer.status_code == 200:
                confirmed.append(name)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()
    try:
        for goal in (50, 100):
            wait_until(lambda goal=goal: len(confirmed) >= goal, 60)  # type: ignore[misc]
            (store,) = wait_until(lambda: list(bench.platform.pids("store").values()))
            bench.platform.kill(store)
        wait_until(lambda: len(confirmed) >= 200, 60)
    finally:
        stop.set()
        for one in clients:
            one.join()
    wait_until(lambda: set(ended(bench, "c24 ")) >= set(confirmed), 30)
    twice = [name for name, times in Counter(begun(bench, "c24 ")).items() if times > 1]
    assert len(twice) <= 2 * AT_A_TIME


def test_case_25_rollouts_lose_no_task_and_run_none_twice(bench: Workbench) -> None:
    generation = bench.platform.status()["generation"]
    bench.deliver("Work", *({"name": f"c25 {n}", "seconds": n % 20 / 10} for n in range(400)))
    (long,) = bench.deliver("Work", {"name": "c25 long", "seconds": 12})
    bench.wait("start", "c25 long", deadline=30)
    with Load(bench.platform.url, "/bench/none", clients=1) as load:
        for _ in range(3):
            assert bench.platform.cli("reload").returncode == 0
        wait_until(lambda: len(ended(bench, "c25 ")) >= 400, 60)
    assert bench.platform.status()["generation"] == generation + 3
    assert load.failures == []
    # None has run twice but the one that took longer than a drain may
    bench.wait("end", "c25 long", deadline=40)
    times = Counter(begun(bench, "c25 "))
    assert {name for name, number in times.items() if number > 1} == {"c25 long"}
    assert {entry["attempt"] for entry in bench.diary("start", "c25 long")} == {1}
    assert set(ended(bench, "c25 ").values()) == {1}
    assert long
