"""Tasks and events through a running platform; the numbers are those of the list of cases."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skep.engine.contract import Envelope, QueueStats
from skep.engine.ids import new_id
from tests.acceptance.workbench import Workbench, workbench
from tests.support import PATIENCE, wait_until

SCRIPT = """
import asyncio, sys
from skep import Event, EngineError, Task

class Work(Task, name="bench.Work"):
    name: str
    seconds: float = 0.0

class Kept(Task, name="bench.Kept"):
    number: int
    keep_result = 60

class Happening(Event, name="bench.Happening"):
    name: str
    stop: bool = False

class Unheard(Event, name="bench.Unheard"):
    name: str = ""

async def main():
    await asyncio.gather(*(Work(name="script").deliver() for _ in range(50)))
    receipt = await Kept(number=4).deliver()
    print(await receipt.result(timeout=20))
    fired = await Happening(name="script").fire()
    print(len(fired.id))
    try:
        await Unheard().fire()
    except EngineError as error:
        print(error)

if sys.argv[1:]:
    Work(name="script").deliver_sync()
else:
    asyncio.run(main())
    Work(name="script sync").deliver_sync(delay=0.1)
    print(Kept(number=8).deliver_sync().result_sync(timeout=20))
    print(len(Happening(name="script sync").fire_sync().id))
"""
LATER = """
from plugins.bench import write
from skep import Plugin, Task


class Unheard(Task):
    name: str

    async def handle(self, ctx):
        write("start", self.name)


plugin = Plugin(tasks=[Unheard])
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    queues = "limited waiting=1000, media workers=1 concurrency=2, ordered workers=1"
    with workbench(tmp_path_factory.mktemp("tasks"), PLATFORM_QUEUES=queues) as made:
        yield made


def test_the_one_who_delivers_does_not_wait_for_the_task(bench: Workbench) -> None:
    """Tasks, case 1."""
    answer = bench.post("deliver", {"task": "Work", "fields": [{"name": "c1", "seconds": 2}]})
    assert answer["seconds"] < 2
    (end,) = bench.wait("end", "c1")
    assert end["pid"] != answer["pid"]
    assert len(bench.diary("start", "c1")) == 1


def test_a_task_that_fails_twice_is_tried_three_times_and_finishes_once(
    bench: Workbench,
) -> None:
    """Tasks, case 4."""
    bench.deliver("Fails", {"name": "c4", "times": 2})
    bench.wait("finish", "c4")
    starts = bench.diary("start", "c4")
    assert [entry["attempt"] for entry in starts] == [1, 2, 3]
    # And what `finish` has delivered runs too
    bench.wait("end", "c4 after")
    assert len(bench.diary("finish", "c4")) == 1


def test_what_waits_for_its_next_attempt_says_so_and_can_be_brought_forward(
    bench: Workbench,
) -> None:
    """Tasks, case 4."""
    (delivery,) = bench.deliver("Patient", {"name": "c4 patient", "times": 1})
    bench.wait("start", "c4 patient")
    shown = wait_until(
        lambda: (it := bench.verb("task", "show", delivery))["state"] == "scheduled" and it
    )
    assert (shown["attempt"], shown["losses"]) == (2, 0)
    assert "ValueError: boom" in shown["error"]
    assert 3500 < shown["due"] - shown["put_at"] < 3700
    assert bench.platform.cli("task", "retry", delivery).stdout == "1 of 1 will run.\n"
    bench.wait("finish", "c4 patient")
    assert [entry["attempt"] for entry in bench.diary("start", "c4 patient")] == [1, 2]


def test_finish_gets_the_value_wherever_the_task_was_delivered(bench: Workbench) -> None:
    """Tasks, case 7."""
    # Delivered by a cron at the start
    (finish,) = bench.wait("finish", "1 from cron")
    (start,) = bench.diary("start", "1 from cron")
    assert finish["id"] == start["id"]
    # And it does not run when `handle` has failed
    bench.deliver("Fails", {"name": "c7", "times": 3})
    bench.wait("failed", "c7")
    assert bench.diary("finish", "c7") == []


@pytest.mark.parametrize("how", ["TypeError", "SystemExit", "MemoryError", "CancelledError"])
def test_whatever_a_handler_raises_is_a_failure_and_the_worker_lives(
    bench: Workbench, how: str
) -> None:
    """Tasks, case 6."""
    before = bench.platform.pids("task")
    bench.deliver("Fails", {"name": f"c6 {how}", "times": 3, "how": how})
    (failed,) = bench.wait("failed", f"c6 {how}")
    assert how in failed["error"]
    assert bench.diary("finish", f"c6 {how}") == []
    assert bench.platform.pids("task") == before


def test_listeners_keep_their_order_and_one_that_fails_is_retried_alone(
    bench: Workbench,
) -> None:
    """Tasks, case 8."""
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


def test_sleepers_do_not_wait_for_one_another_nor_for_a_thread(bench: Workbench) -> None:
    """Tasks, case 9."""
    gate = bench.platform.directory / "c9 gate"
    bench.deliver("Block", {"name": "c9 block", "gate": str(gate)})
    bench.wait("start", "c9 block")
    bench.deliver("Work", *({"name": f"c9 {n}", "seconds": 1} for n in range(24)))
    wait_until(lambda: sum(n.startswith("c9 ") for n in bench.names("end")) >= 24)
    assert bench.diary("end", "c9 block") == []
    gate.touch()
    bench.wait("end", "c9 block")


def test_a_coroutine_is_cancelled_when_its_time_is_over_and_tried_again(
    bench: Workbench,
) -> None:
    """Tasks, case 10."""
    bench.deliver("Late", {"name": "c10", "how": "async"})
    bench.wait("cancelled", "c10", 2)
    starts, ends = bench.diary("start", "c10"), bench.diary("cancelled", "c10")
    assert [entry["attempt"] for entry in starts] == [1, 2]
    for start, end in zip(starts, ends, strict=True):
        assert end["at"] - start["at"] > 0.9


def test_the_lines_of_a_task_tell_its_attempt_and_the_request_that_delivered_it(
    bench: Workbench,
) -> None:
    """Tasks, case 18."""
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
    def counted() -> float:
        series = r'platform_tasks_total\{[^}]*outcome="failure"[^}]*task="bench.Fails"[^}]*\} (\S+)'
        return sum(map(float, re.findall(series, bench.platform.metrics())))

    wait_until(lambda: counted() == bench.platform.output().count("bench.Fails failed"))


def test_the_platform_tells_plugins_what_happens_to_it(bench: Workbench) -> None:
    (committed,) = bench.wait("committed", "1")
    assert committed["cause"] == "start"
    pid = bench.platform.pids("web.1")["web.1@1"]
    os.kill(pid, signal.SIGKILL)
    (exited,) = bench.wait("exited", "web.1")
    assert (exited["signal"], exited["of"]) == ("SIGKILL", pid)
    bench.platform.wait_ready()
    # And of a configuration that nobody has to be replaced for
    bench.platform.publish("COLOUR=amber")
    (changed,) = bench.wait("changed", "COLOUR")
    assert (changed["live"], changed["of"]) == (True, 1)


def test_a_thread_that_does_not_stop_costs_its_worker_and_nobody_else(
    bench: Workbench,
) -> None:
    """Tasks, case 10."""
    # Given tasks beside it that take longer than its worker may take to be replaced
    bench.deliver("Work", *({"name": f"c10 {n}", "seconds": 3} for n in range(20)))
    wait_until(lambda: sum(n.startswith("c10 ") for n in bench.names("start")) >= 20)
    bench.deliver("spin", {"name": "c10 spin"})
    (spun,) = bench.wait("start", "c10 spin")
    # Then it is a dead letter, and its worker is replaced when the others have ended on it
    wait_until(lambda: spun["pid"] not in bench.platform.pids("task").values(), 30)
    wait_until(lambda: sum(n.startswith("c10 ") for n in bench.names("end")) >= 20)
    assert len(bench.diary("start", "c10 spin")) == 1
    assert [n for n in bench.names("start") if n == "c10 0"] == ["c10 0"]
    metrics = bench.platform.metrics()
    assert 'task="bench.spin"' in metrics
    assert 'platform_worker_starts_total{pool="task",reason="task_timeout"} 1\n' in metrics


def test_what_is_given_up_is_listed_with_its_traceback_and_can_be_run_again(
    bench: Workbench,
) -> None:
    """Tasks, case 5."""
    (delivery,) = bench.deliver("Fails", {"name": "c5", "times": 3})
    bench.wait("failed", "c5")
    # The dead letter was there before `failed` ran
    letters = {one["id"]: one for one in bench.verb("dead", "ls", "--name", "bench.F")}
    letter = letters[delivery]
    assert (letter["name"], letter["reason"], letter["attempt"]) == ("bench.Fails", "failed", 3)
    assert "ValueError: boom" in letter["error"]
    assert "in handle" in letter["error"]
    shown = bench.verb("task", "show", delivery)
    assert (shown["state"], shown["attempt"]) == ("dead", 3)
    assert shown["payload"] == {"name": "c5", "times": 3, "how": "ValueError"}
    table = bench.platform.cli("dead", "ls").stdout
    assert delivery in table
    assert "ValueError: boom" in table
    # When it is run again, it runs as if new
    assert bench.platform.cli("task", "retry", delivery).stdout == "1 of 1 will run.\n"
    bench.wait("start", "c5", 6)
    bench.wait("failed", "c5", 2)
    assert bench.platform.cli("dead", "delete", delivery).stdout == "1 of 1 forgotten.\n"
    gone = bench.platform.cli("task", "show", delivery)
    assert gone.returncode == 1
    assert "Nothing is known" in gone.stderr


def test_the_more_important_ones_start_first(bench: Workbench) -> None:
    """Tasks, case 11."""
    assert bench.platform.cli("queue", "pause", "ordered").returncode == 0
    bench.deliver("Ordered", *({"name": f"c11 low {n}"} for n in range(100)))
    bench.deliver("Ordered", {"name": "c11 high"}, priority=1)
    (stats,) = (row for row in bench.verb("queue", "ls") if row["queue"] == "ordered")
    assert (stats["ready"], stats["paused"]) == (101, True)
    assert bench.names("start").count("c11 high") == 0
    bench.platform.cli("queue", "resume", "ordered")
    wait_until(lambda: sum(n.startswith("c11") for n in bench.names("start")) == 101)
    order = [name for name in bench.names("start") if name.startswith("c11")]
    # The one worker of this queue begins with it, or with one that it had in hand
    assert order.index("c11 high") < 2


def test_of_a_concurrency_key_the_urgent_one_starts_first_and_a_paused_queue_holds_up_none(
    bench: Workbench,
) -> None:
    """A11: what was ready first took the room of its key, in a paused queue for ever."""
    assert bench.platform.cli("queue", "pause", "ordered").returncode == 0
    for name, priority in (("low", 1), ("middle", 5), ("urgent", 9)):
        fields = {"name": f"a11 {name}", "of": "a11"}
        bench.deliver("Serial", fields, queue="ordered", priority=priority)
    # One of the same key in another queue runs meanwhile
    bench.deliver("Serial", {"name": "a11 elsewhere", "of": "a11"})
    bench.wait("end", "a11 elsewhere")
    assert bench.diary("start", "a11 urgent") == []
    assert bench.platform.cli("queue", "resume", "ordered").returncode == 0
    bench.wait("end", "a11 low")
    assert [entry["what"] + entry["name"] for entry in bench.diary() if "a11" in entry["name"]] == [
        what + f"a11 {name}"
        for name in ("elsewhere", "urgent", "middle", "low")
        for what in ("start", "end")
    ]


def test_of_a_unique_key_one_runs_at_a_time(bench: Workbench) -> None:
    """Tasks, case 12."""

    def deliver(seconds: float) -> tuple[str, bool]:
        body = {"task": "Once", "fields": [{"name": "c12", "seconds": seconds}]}
        ((delivery, duplicate),) = bench.post("deliver", body)["receipts"]
        return delivery, duplicate

    # Given fifty who deliver the same at once, in both web workers
    with ThreadPoolExecutor(10) as clients:
        receipts = list(clients.map(deliver, [5.0] * 50))
    # Then one of them does, and the others are told which
    assert sum(duplicate for _, duplicate in receipts) == 49
    assert len({delivery for delivery, _ in receipts}) == 1
    bench.wait("end", "c12")
    assert len(bench.diary("start", "c12")) == 1
    # And when it has ended there can be another
    wait_until(lambda: not deliver(0)[1])


def test_a_queue_that_is_full_says_so_and_loses_nothing(bench: Workbench) -> None:
    """Tasks, case 13."""
    bench.platform.cli("queue", "pause", "limited")
    assert bench.post("flood", {"number": 2000}) == {"full": 1000}
    bench.platform.cli("queue", "resume", "limited")

    def started() -> list[str]:
        return [name for name in bench.names("start") if name.startswith("flood")]

    wait_until(lambda: len(started()) >= 1000, 30, interval=0.1)
    assert len(started()) == len(set(started())) == 1000


def test_a_task_nobody_knows_waits_for_the_code_that_does(bench: Workbench) -> None:
    """Tasks, case 14."""
    name = "later.Unheard"
    unheard = Envelope(delivery := new_id(), name, b'{"name": "c14"}')
    bench.ask(lambda engine: engine.put([unheard]))
    wait_until(lambda: bench.verb("task", "show", delivery)["state"] == "scheduled")

    # Given up in the end, it is a dead letter; here it is brought forward whenever it waits
    def given_up() -> Any:
        if bench.verb("task", "show", delivery)["state"] == "scheduled":
            bench.platform.cli("task", "retry", delivery)
        return bench.verb("dead", "ls", "--name", name)

    letter = wait_until(given_up, 60)
    assert [one["reason"] for one in letter] == ["unknown_task"]
    # When there is code that knows it, it can be run
    (bench.platform.plugins / "later.py").write_text(LATER)
    assert bench.platform.cli("reload").returncode == 0
    assert bench.platform.cli("dead", "retry", delivery).stdout == "1 of 1 will run again.\n"
    bench.wait("start", "c14")


def test_what_waits_can_be_cancelled_and_what_runs_stopped(bench: Workbench) -> None:
    """Tasks, case 15."""
    waiting, running = bench.deliver("Work", {"name": "c15 waits"}, delay=3600) + bench.deliver(
        "Work", {"name": "c15 runs", "seconds": 60}
    )
    bench.wait("start", "c15 runs")
    assert {row["id"] for row in bench.verb("task", "ls", "--name", "bench.Work")} >= {
        waiting,
        running,
    }
    assert bench.platform.cli("task", "cancel", waiting, running).returncode == 0
    assert bench.verb("task", "show", waiting)["state"] == "cancelled"
    wait_until(lambda: bench.verb("task", "show", running)["state"] == "cancelled")
    assert bench.diary("start", "c15 waits") == []
    assert bench.diary("end", "c15 runs") == []
    assert bench.diary("finish", "c15 runs") == []


def test_a_task_can_be_delivered_from_everywhere(bench: Workbench) -> None:
    """Tasks, case 2."""
    bench.deliver("Work", {"name": "c2 from web"})
    bench.deliver("Relay", {"name": "c2"})
    bench.post("fire", {"name": "c2"})
    sent = bench.platform.cli("task", "send", "bench.Work", '{"name": "c2 from cli"}')
    assert sent.returncode == 0, sent.stderr
    bench.post("from-thread/c2 from thread", {})
    bench.deliver("Fails", {"name": "c2", "times": 0})  # the `finish` of which delivers "c2 after"
    places = ("web", "thread", "task", "listener", "cli")
    for name in (*(f"c2 from {place}" for place in places), "c2 after", "1 from cron"):
        bench.wait("finish", name)
        assert len(bench.diary("start", name)) == 1


def test_a_result_is_there_for_the_one_who_waits_for_it(bench: Workbench) -> None:
    assert bench.post("result", {"number": 21, "seconds": 0.2}) == {"result": 42}


def test_a_task_is_sent_by_hand_as_it_would_be_in_code(bench: Workbench) -> None:
    def stats() -> dict[str, QueueStats]:
        return bench.ask(lambda engine: engine.stats())

    # What other tests have seen the end of may not have been settled yet
    wait_until(lambda: not any(queue.ready or queue.leased for queue in stats().values()))
    before = stats()
    for arguments, sentence in (
        (["bench.Work", '{"name": "h", "second": 1}'], "`second` is none of its fields (name, sec"),
        (["bench.Work", '{"name": 7}'], "`name`: Input should be a valid string"),
        (["bench.Work", '{"seconds": 1}'], "`name` is missing"),
        (["bench.Work"], "`name` is missing"),
        (["bench.Work", "{"], "is not JSON"),
        (["bench.Work", "h", "soon"], "`seconds`: Input should be a valid number"),
        (["bench.Work", "h", "1", "2"], "cannot be made of 3 values; it has its fields: name, sec"),
        (["bench.Work", "h", "--tries", "0"], "tries is 0"),
        (["bench.Work", "h" * 70_000], "longer than"),
        (["bench.Wrok", "h"], "No plugin has a task bench.Wrok. The tasks are: bench.Block"),
    ):
        done = bench.platform.cli("task", "send", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert sentence in done.stderr
    # Then nothing was delivered
    assert stats() == before
    # And what fits waits in the queue of its class, under its unique key, for as long as is said
    verb = ("task", "send", "bench.Once", "7", "--delay", "3600", "--json")
    first, second = (json.loads(bench.platform.cli(*verb).stdout) for _ in range(2))
    assert (first["duplicate"], second) == (False, {"id": first["id"], "duplicate": True})
    shown = bench.verb("task", "show", first["id"])
    assert (shown["payload"], shown["key"]) == ({"name": "7", "seconds": 0.3}, "bench.Once:7")
    assert 3500 < shown["due"] - shown["put_at"] < 3700
    done = bench.platform.cli("task", "send", "bench.Ordered", '{"name": "ö"}', "--delay", "3600")
    assert bench.verb("task", "show", done.stdout.strip())["queue"] == "ordered"
    # And what it was given is not in the audit log
    assert '"task": "bench.Ordered"' in (log := bench.platform.data_dir / "audit.jsonl").read_text()
    assert '{\\"name' not in log.read_text()


def test_a_script_of_ones_own_delivers_and_fires(bench: Workbench, tmp_path: Path) -> None:
    """A8: `deliver()`, `fire()` and receipts work where PLATFORM_DATA_DIR names a platform."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**bench.platform.environment, **environment}
        return subprocess.run(
            [sys.executable, script, *arguments],
            env={key: value for key, value in given.items() if value},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    done = run()
    assert done.stdout.splitlines() == [
        "8",
        "32",
        "bench.Unheard was not fired: No plugin has an event bench.Unheard. The events are: "
        "bench.Happening, platform.ConfigChanged, platform.GenerationCommitted, "
        "platform.WorkerExited.",
        "16",
        "32",
    ], done
    assert done.stderr == ""
    bench.wait("end", "script", 50)
    for name in ("script", "script sync"):
        bench.wait("third", name)
        bench.wait("first", name)
    bench.wait("end", "script sync")
    # And where none is named, or none runs there, it says so
    for value, sentence in (("", "set PLATFORM_DATA_DIR"), (str(tmp_path), "Nothing listens on")):
        done = run("sync", PLATFORM_DATA_DIR=value)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]


def test_an_event_is_fired_by_hand_as_it_would_be_in_code(bench: Workbench) -> None:
    """A8: `platform event fire`, as `platform task send`."""
    for arguments, sentence in (
        (["bench.Happening", '{"stop": true}'], "`name` is missing"),
        (["bench.Happening", "h", "true", "2"], "its fields: name, stop"),
        (["bench.Happening", "h", "--tries", "0"], "tries is 0"),
        (["bench.Nothing", "h"], "No plugin has an event bench.Nothing. The events are: bench.H"),
    ):
        done = bench.platform.cli("event", "fire", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert sentence in done.stderr
    fired = bench.platform.cli("event", "fire", "bench.Happening", "by hand", "--json")
    assert len(json.loads(fired.stdout)["id"]) == 32
    bench.wait("third", "by hand")
    assert bench.diary(name="by hand")[0]["what"] == "first"


def test_verbs_refuse_what_they_cannot_do(bench: Workbench) -> None:
    for verb, sentence in ((["dead", "retry"], "or say --all"),):
        done = bench.platform.cli(*verb)
        assert done.returncode == 2
        assert sentence in done.stderr
    assert bench.platform.cli("task", "cancel", "0" * 32).returncode == 1
    bench.deliver("Work", {"name": "purged"}, delay=3600, queue="attic")
    assert (
        bench.platform.cli("task", "purge", "--queue", "attic", "--yes").stdout == "1 forgotten.\n"
    )


def test_a_queue_with_a_worker_of_its_own_is_served_by_that_one_and_no_faster_than_it_may(
    bench: Workbench,
) -> None:
    assert "task.media.0" in {row["slot"] for row in bench.platform.status()["slots"]}
    bench.deliver(
        "Work", *({"name": f"media {n}", "seconds": 0.2} for n in range(8)), queue="media"
    )
    wait_until(lambda: sum(name.startswith("media") for name in bench.names("finish")) == 8)
    starts = [entry for entry in bench.diary("start") if entry["name"].startswith("media")]
    assert {entry["slot"] for entry in starts} == {"task.media.0"}
    at_work, most = 0, 0
    for entry in bench.diary():
        if entry["name"].startswith("media"):
            at_work += {"start": 1, "end": -1}.get(entry["what"], 0)
            most = max(most, at_work)
    assert most == 2
