"""Tasks and events through a running platform; the numbers are those of the list of cases."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("tasks")) as made:
        yield made


def test_case_01_the_one_who_delivers_does_not_wait_for_the_task(bench: Workbench) -> None:
    answer = bench.post("deliver", {"task": "Work", "fields": [{"name": "c1", "seconds": 2}]})
    assert answer["seconds"] < 2
    (end,) = bench.wait("end", "c1")
    assert end["pid"] != answer["pid"]
    assert len(bench.diary("start", "c1")) == 1


def test_case_04_a_task_that_fails_twice_is_tried_three_times_and_finishes_once(
    bench: Workbench,
) -> None:
    bench.deliver("Fails", {"name": "c4", "times": 2})
    bench.wait("finish", "c4")
    starts = bench.diary("start", "c4")
    assert [entry["attempt"] for entry in starts] == [1, 2, 3]
    # And what finish has delivered runs too (case 7)
    bench.wait("end", "c4 after")
    assert len(bench.diary("finish", "c4")) == 1


@pytest.mark.parametrize("how", ["TypeError", "SystemExit", "MemoryError", "CancelledError"])
def test_case_06_whatever_a_handler_raises_is_a_failure_and_the_worker_lives(
    bench: Workbench, how: str
) -> None:
    before = bench.platform.pids("task")
    bench.deliver("Fails", {"name": f"c6 {how}", "times": 3, "how": how})
    (failed,) = bench.wait("failed", f"c6 {how}")
    assert how in failed["error"]
    assert bench.diary("finish", f"c6 {how}") == []
    assert bench.platform.pids("task") == before


def test_case_08_listeners_keep_their_order_and_one_that_fails_is_retried_alone(
    bench: Workbench,
) -> None:
    bench.post("fire", {"name": "c8"})
    bench.wait("second", "c8", 2)
    bench.wait("third", "c8")
    heard = [entry["what"] for entry in bench.diary(name="c8")]
    assert sorted(heard) == ["first", "second", "second", "third"]
    assert heard[:2] == ["first", "second"]
    # And one that returns False ends the round
    bench.post("fire", {"name": "c8 stop", "stop": True})
    bench.wait("second", "c8 stop")
    bench.post("fire", {"name": "c8 later"})
    bench.wait("third", "c8 later")
    assert bench.diary("third", "c8 stop") == []


def test_case_09_sleepers_do_not_wait_for_one_another_nor_for_a_thread(bench: Workbench) -> None:
    bench.deliver("Block", {"name": "c9 block", "seconds": 5})
    bench.wait("start", "c9 block")
    bench.deliver("Work", *({"name": f"c9 {n}", "seconds": 1} for n in range(24)))
    wait_until(lambda: sum(n.startswith("c9 ") for n in bench.names("end")) >= 24)
    assert bench.diary("end", "c9 block") == []


def test_case_10_a_coroutine_is_cancelled_when_its_time_is_over_and_tried_again(
    bench: Workbench,
) -> None:
    bench.deliver("Late", {"name": "c10", "how": "async"})
    bench.wait("cancelled", "c10", 2)
    starts, ends = bench.diary("start", "c10"), bench.diary("cancelled", "c10")
    assert [entry["attempt"] for entry in starts] == [1, 2]
    for start, end in zip(starts, ends, strict=True):
        assert end["at"] - start["at"] > 0.9


def test_case_18_the_lines_of_a_task_tell_its_attempt_and_the_request_that_delivered_it(
    bench: Workbench,
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"x-request-id": "c18-request", "traceparent": trace}
    body = {"task": "Fails", "fields": [{"name": "c18", "times": 1}]}
    answer = bench.post("deliver", body, **headers)
    bench.wait("finish", "c18")
    (delivery,) = (delivery for delivery, _ in answer["receipts"])
    said = [line for line in bench.platform.output().splitlines() if "attempt of c18" in line]
    assert len(said) == 2
    for attempt, line in enumerate(said, 1):
        assert f"task_id={delivery}" in line
        assert f"attempt={attempt}" in line
        assert "request_id=c18-request" in line
        assert "trace_id=0af7651916cd43dd8448eb211c80319c" in line
    # And the counters count what the lines tell
    counted = re.findall(
        r'platform_tasks_total\{[^}]*outcome="failure"[^}]*task="bench.Fails"[^}]*\} (\S+)',
        bench.platform.metrics(),
    )
    failures = [
        line for line in bench.platform.output().splitlines() if "bench.Fails failed" in line
    ]
    assert sum(map(float, counted)) == len(failures)


def test_the_platform_tells_plugins_what_happens_to_it(bench: Workbench) -> None:
    (committed,) = bench.wait("committed", "1")
    assert committed["cause"] == "start"
    pid = bench.platform.pids("web.1")["web.1@1"]
    os.kill(pid, signal.SIGKILL)
    (exited,) = bench.wait("exited", "web.1")
    assert (exited["signal"], exited["of"]) == ("SIGKILL", pid)
    bench.platform.wait_ready()


def test_case_10_a_thread_that_does_not_stop_costs_its_worker_and_nobody_else(
    bench: Workbench,
) -> None:
    # Given tasks beside it that take longer than its worker may take to be replaced
    bench.deliver("Work", *({"name": f"c10 {n}", "seconds": 3} for n in range(20)))
    wait_until(lambda: sum(n.startswith("c10 ") for n in bench.names("start")) >= 20)
    bench.deliver("spin", {"name": "c10 spin"})
    (spun,) = bench.wait("start", "c10 spin")
    # Then it is a dead letter, and its worker is replaced when the others have ended on it
    wait_until(lambda: spun["pid"] not in bench.platform.pids("task").values(), 15)
    wait_until(lambda: sum(n.startswith("c10 ") for n in bench.names("end")) >= 20)
    assert len(bench.diary("start", "c10 spin")) == 1
    assert [n for n in bench.names("start") if n == "c10 0"] == ["c10 0"]
    assert 'task="bench.spin"' in bench.platform.metrics()
