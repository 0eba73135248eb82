"""What `platform top` makes of two readings: rates, the document and the lines of a frame."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from skep.cli.top.lines import COLUMNS, KEYS, lines, number, span
from skep.cli.top.rates import ABOVE, Latency, Rates, quantile
from skep.cli.top.reading import Reading
from skep.cli.top.view import view
from skep.metrics.names import BY_NAME, FAST

Series = list[tuple[dict[str, str], Any]]


def families(**series: Series) -> list[dict[str, Any]]:
    """Families as the ledger returns them; each is in the catalogue."""
    return [
        {
            "name": BY_NAME[name].exposed,
            "type": BY_NAME[name].type,
            "help": "",
            "bounds": BY_NAME[name].buckets,
            "series": found,
        }
        for name, found in series.items()
    ]


def buckets(**counts: int) -> list[float]:
    """The counts of FAST's buckets by index (`_0=5`), that above the last included."""
    return [float(counts.get(f"_{index}", 0)) for index in range(len(FAST) + 1)]


def slot(name: str, pid: int | None, state: str = "ready", crashes: int = 0) -> dict[str, Any]:
    name, _, generation = name.partition("@")
    number = int(generation or 0)
    return {"slot": name, "generation": number, "state": state, "pid": pid, "crashes": crashes}


def process(name: str, pid: int, cpu: float, **other: Any) -> dict[str, Any]:
    bare, _, generation = name.partition("@")
    return {
        "name": name, "slot": bare, "kind": bare.partition(".")[0], "pid": pid,
        "generation": int(generation or 0), "state": "ready", "rss": 40 << 20, "cpu": cpu,
        "age": 60.0, "threads": 2, "fds": 20, **other,
    }  # fmt: skip


def reading(clock: float = 100.0, run_id: str = "a", **parts: Any) -> Reading:
    status = {
        "state": "running", "reasons": [], "version": "1.0", "pid": 1, "run_id": run_id,
        "uptime": 600.0, "generation": 2, "on_probation": False, "coming": None,
        "slots": [slot("store.0", 2), slot("web.0@2", 3), slot("web.1@2", 4)],
        "config": {
            "app_id": "shop", "cluster": "default", "url": "http://c", "source": "remote",
            "releases": [{"namespace": "application", "since": 40.0, "not_newer": ""}],
            "keys": {"remote": 12, ".env": 1}, "snapshot": 7, "pinned": 0,
        },
        "refused": None, "restart_required": [],
    }  # fmt: skip
    status |= parts.pop("status", {})
    processes = [
        process("supervisor", 1, 1.0, state="running"), process("store.0", 2, 2.0),
        process("web.0@2", 3, 3.0), process("web.1@2", 4, 4.0), process("zygote@2", 5, 0.5),
    ]  # fmt: skip
    made = Reading(1000.0 + clock, clock, clock, status, [], processes, [])
    return replace(made, **parts)


def requests(count: int, errors: int = 0) -> Series:
    return [
        ({"method": "GET", "route": "/", "status": "200"}, float(count)),
        ({"method": "GET", "route": "/", "status": "503"}, float(errors)),
    ]


def find(document: Mapping[str, Any], name: str) -> Any:
    return next(one for one in document["slots"] if one["name"] == name)


def test_a_rate_is_the_growth_of_all_series_by_the_time_between_the_readings() -> None:
    earlier = reading(10.0, families=families(http_requests_total=requests(100, 5)))
    later = reading(12.0, families=families(http_requests_total=requests(140, 6)))
    rates = Rates(earlier, later)
    assert rates.seconds == 2.0
    assert rates.per_second("http_requests_total") == 20.5
    assert rates.per_second("http_requests_total", status="503") == 0.5
    assert rates.per_second("http_requests_total", lambda labels: labels["status"] < "3") == 20.0


def test_a_series_that_is_new_has_grown_from_zero() -> None:
    later = reading(102.0, families=families(http_requests_total=requests(4)))
    assert Rates(reading(families=[]), later).per_second("http_requests_total") == 2.0


def test_a_counter_that_fell_began_again_at_zero() -> None:
    earlier = reading(10.0, families=families(http_requests_total=requests(100)))
    later = reading(11.0, families=families(http_requests_total=requests(3)))
    assert Rates(earlier, later).per_second("http_requests_total") == 3.0


def test_without_an_earlier_reading_or_a_family_or_with_another_supervisor_is_no_rate() -> None:
    first = reading(10.0, families=families(http_requests_total=requests(100)))
    later = replace(first, clock=11.0)
    assert Rates(None, first).per_second("http_requests_total") is None
    assert Rates(first, later).per_second("tasks_total") is None
    assert Rates(first, first).per_second("http_requests_total") is None
    restarted = Rates(replace(first, status={**first.status, "run_id": "b"}), later)
    assert restarted.per_second("http_requests_total") is None
    assert restarted.seconds is None
    assert restarted.cpu_percent(3) is None
    assert restarted.latency("http_request_duration_seconds") == Latency()


def test_cpu_is_in_percent_of_a_core_and_a_number_used_again_is_another_process() -> None:
    earlier = reading(10.0, processes=[process("web.0@2", 3, 5.0), process("web.1@2", 4, 9.0)])
    later = reading(12.0, processes=[process("web.0@2", 3, 6.5), process("web.1@2", 4, 0.1)])
    # A blocked worker delays the metrics and not the processes
    rates = Rates(earlier, replace(later, clock=12.15))
    assert rates.cpu_percent(3) == 75.0
    assert rates.cpu_percent(4) is None
    assert rates.cpu_percent(99) is None


def test_latency_is_that_of_the_requests_between_the_readings() -> None:
    name = "http_request_duration_seconds"
    labels = {"method": "GET", "route": "/"}
    other = {"method": "GET", "route": "/slow"}
    earlier = reading(10.0, families=families(**{name: [(labels, [99.0, buckets(_14=50)])]}))
    series = [(labels, [99.5, buckets(_0=98, _14=50)]), (other, [1.5, buckets(_9=2)])]
    latency = Rates(earlier, reading(11.0, families=families(**{name: series}))).latency(name)
    assert latency == Latency(mean=0.02, p50=0.005, p99=1.0)


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, [1, 1, 0], 0.1),
        (0.51, [1, 1, 0], 0.2),
        (0.99, [0, 0, 3], ABOVE),
        (0.99, [99, 0, 1], 0.1),
        (1.0, [99, 1, 0], 0.2),
    ],
)
def test_a_quantile_is_the_bound_that_its_share_does_not_exceed(
    share: float, counts: list[float], expected: float | str
) -> None:
    assert quantile(share, [0.1, 0.2], counts) == expected


def test_the_document_has_what_each_process_uses() -> None:
    lag = [({"pool": "web", "worker": "web.0"}, 0.25)]
    earlier = reading(10.0)
    later = reading(11.0, families=families(worker_event_loop_lag_seconds=lag))
    later.processes[2]["cpu"] = 3.5
    document = view(earlier, later)
    assert [one["name"] for one in document["slots"]] == [
        "supervisor", "store.0", "web.0@2", "web.1@2", "zygote@2",
    ]  # fmt: skip
    web = find(document, "web.0@2")
    assert (web["cpu"], web["rss"], web["lag"], web["crashes"]) == (50.0, 40 << 20, 0.25, 0)
    assert find(document, "web.1@2")["lag"] is None
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_slot_without_a_process_is_shown_and_the_figures_of_a_slot_are_its_newest_s() -> None:
    slots = [
        slot("web.0@1", 3, "draining"),
        slot("web.0@2", 4),
        slot("web.1@2", None, "backoff", 3),
    ]
    lag = [({"pool": "web", "worker": "web.0"}, 0.25)]
    later = reading(
        status={"slots": slots},
        families=families(worker_event_loop_lag_seconds=lag),
        processes=[process("web.0@1", 3, 1.0), process("web.0@2", 4, 1.0, rss=0)],
    )
    old, new, empty = view(None, later)["slots"]
    assert (old["name"], old["state"], old["lag"]) == ("web.0@1", "draining", None)
    assert (new["name"], new["lag"], new["rss"]) == ("web.0@2", 0.25, None)
    assert (empty["name"], empty["pid"], empty["crashes"]) == ("web.1@2", None, 3)


def test_the_requests_of_a_slot_are_those_of_all_its_processes() -> None:
    def counted(count: float) -> list[dict[str, Any]]:
        labels = {"pool": "web", "worker": "web.0"}
        name = "platform_worker_requests_total"
        return [{"name": name, "type": "counter", "bounds": (), "series": [[labels, count]]}]

    document = view(reading(100.0, families=counted(10)), reading(102.0, families=counted(40)))
    assert find(document, "web.0@2")["requests"] == 15.0
    assert find(document, "web.1@2")["requests"] is None


def test_the_lag_of_a_blocked_loop_is_the_time_since_its_last_beat() -> None:
    labels = {"pool": "web", "worker": "web.0"}
    beat = [(labels, 1100.0 - 12)]
    later = reading(
        families=families(
            worker_event_loop_lag_seconds=[(labels, 0.001)],
            worker_last_heartbeat_timestamp_seconds=beat,
        )
    )
    assert find(view(None, later), "web.0@2")["lag"] == 12.0


def test_the_document_has_depths_and_rates_of_each_queue() -> None:
    def of(count: float, failures: float) -> list[dict[str, Any]]:
        task = {"task": "shop.Mail", "queue": "mail"}
        return families(
            tasks_queued=[({"queue": "mail"}, 7.0)],
            task_dead_letters=[({"queue": "mail"}, 1.0), ({"queue": "default"}, 0.0)],
            task_oldest_queued_timestamp_seconds=[({"queue": "mail"}, 1091.0)],
            tasks_total=[
                ({**task, "outcome": "success"}, count),
                ({**task, "outcome": "failure"}, failures),
                ({**task, "outcome": "cancelled"}, failures),
            ],
        )

    document = view(reading(99.0, families=of(0, 0)), reading(101.0, families=of(10, 4)))
    default, mail = document["queues"]
    assert (default["queue"], default["ready"], default["oldest"]) == ("default", 0, None)
    assert (mail["ready"], mail["dead"], mail["oldest"]) == (7, 1, 10.0)
    assert (mail["done"], mail["failed"]) == (5.0, 2.0)


def test_web_workers_without_a_request_and_queues_without_an_attempt_have_rates_of_zero() -> None:
    made = families(
        http_requests_in_progress=[({"pool": "web"}, 0.0)], tasks_queued=[({"queue": "mail"}, 0.0)]
    )
    document = view(reading(100.0, families=made), reading(101.0, families=made))
    http, (mail,) = document["http"], document["queues"]
    assert (http["requests"], http["errors"], mail["done"], mail["failed"]) == (0, 0, 0, 0)
    assert view(None, reading(families=made))["http"]["requests"] is None


def test_a_crash_and_a_lag_of_a_second_are_red() -> None:
    lag = [
        ({"pool": "web", "worker": f"web.{index}"}, value) for index, value in ((0, 0.9), (1, 1))
    ]
    slots = [slot("web.0@2", 3, crashes=2), slot("web.1@2", 4)]
    later = reading(
        status={"slots": slots}, families=families(worker_event_loop_lag_seconds=list(lag))
    )
    shown = [line for line in lines(view(None, later), 80) if line.plain.startswith("web")]
    red = [[line.plain[s.start : s.end].strip() for s in line.spans if s.style == "red"]
           for line in shown]  # fmt: skip
    assert red == [["2"], ["1.0 s"]]


def test_the_last_rollouts_are_there_and_other_operations_are_not() -> None:
    def operation(number: int, what: str) -> dict[str, Any]:
        return {
            "id": number, "what": what, "began": 1000.0, "outcome": "committed", "seconds": 0.5,
            "phase": "", "generation": number, "problems": [],
        }  # fmt: skip

    kinds = ("start", "config", "scale", "code", "reload", "drain")
    operations = [operation(number, what) for number, what in enumerate(kinds)]
    document = view(None, reading(operations=operations))
    assert [one["what"] for one in document["rollouts"]] == ["config", "code", "reload"]


def test_workers_that_were_replaced_are_counted_by_reason() -> None:
    starts = [
        ({"pool": "web", "reason": reason}, value)
        for reason, value in (("boot", 2.0), ("crash", 3.0), ("hung", 0.0), ("max_memory", 1.0))
    ]
    document = view(None, reading(families=families(worker_starts_total=starts)))
    assert document["restarts"] == {"web": {"crash": 3, "max_memory": 1}}


def busy() -> dict[str, Any]:
    """A frame with long names and large figures everywhere."""
    count = 40
    names = [f"process.synchronizer.{index}@117" for index in range(count)]
    task = [({"queue": f"a-rather-long-name-{index}"}, 123456.0) for index in range(12)]
    latency = [({"method": "GET", "route": "/"}, [9e6, buckets(_8=500_000, _14=500_000)])]
    operation = {
        "id": 9, "what": "config", "began": 10.0, "outcome": "refused", "seconds": 1.25,
        "phase": "", "generation": 3, "problems": ["plugin shop: " + "x" * 200],
    }  # fmt: skip
    later = reading(
        101.0,
        status={
            "state": "degraded",
            "reasons": [f"web.{index} is not ready " + "y" * 90 for index in range(6)],
            "slots": [slot(name, 4_000_000 + i, "draining") for i, name in enumerate(names)],
            "refused": {"problems": [{"message": "plugin shop:\x1b[2J\n" + "z" * 200}]},
            "on_probation": True,
            "coming": "handing over",
        },
        processes=[
            process(name, 4_000_000 + i, 99.0 + i, rss=(900 - i) << 20)
            for i, name in enumerate(names)
        ],
        operations=[operation] * 3,
        families=families(
            http_requests_total=requests(1_234_567, 999),
            http_request_duration_seconds=latency,
            http_requests_in_progress=[({"pool": "web"}, 12345.0)],
            tasks_queued=task,
        ),
    )
    return view(reading(100.0, processes=[]), later)


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in lines(busy(), width):
        assert line.cell_len <= width, line.plain


def test_every_column_is_shown_at_80_columns() -> None:
    document = view(reading(100.0), reading(101.0))
    assert all(len(line.plain) <= 80 for line in lines(document, 80))
    heading = next(line.plain for line in lines(document, 80) if line.plain.startswith("slot"))
    assert heading.split() == [column.heading for column in COLUMNS]
    assert len(KEYS) <= 80


@pytest.mark.parametrize("height", [24, 40, 50])
def test_tables_are_cut_to_the_height_and_say_so(height: int) -> None:
    shown = [line.plain for line in lines(busy(), 80, height)]
    assert len(shown) <= height
    assert shown[-1].startswith("and ")
    rows = sum(line.startswith("process.") for line in shown)
    assert shown[-1] == f"and {40 - rows} more"


def test_slots_are_sorted_by_a_column_and_those_without_a_value_come_last() -> None:
    later = reading(101.0)
    for one, size in zip(later.processes, (10, 30, None, 20, 40), strict=True):
        one["rss"] = size and size << 20
    document = view(reading(100.0), later)

    def names(sort: str) -> list[str]:
        rows = [line.plain.partition(" ")[0] for line in lines(document, 80, sort=sort)]
        return rows[rows.index("slot") + 1 :]

    assert names("m") == ["zygote@2", "store.0", "web.1@2", "supervisor", "web.0@2"]
    assert names("p") == names("n") == [one["name"] for one in document["slots"]]


def test_text_of_plugins_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in "".join(line.plain for line in lines(busy(), 132))


def test_a_frame_without_an_earlier_one_shows_no_rates() -> None:
    shown = "\n".join(line.plain for line in lines(view(None, reading()), 80))
    assert "http      - req/s  5xx -/s  mean -  p50 -  p99 -" in shown
    assert "config    shop default  remote  13 keys  snapshot 7 applied 17 min ago" in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0"), (0.04, "0.0"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_rates_are_short(value: float | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.00034, "0.3 ms"), (0.25, "250 ms"), (1.25, "1.2 s"), (75.0, "75 s"),
     (600.0, "10 min"), (ABOVE, "over 10 s")],
)  # fmt: skip
def test_times_are_short(value: float | str | None, shown: str) -> None:
    assert span(value) == shown


def test_other_verbs_do_not_load_what_draws_on_the_terminal() -> None:
    code = (
        "import sys, skep.cli.main; assert 'rich' not in sys.modules\n"
        "import skep.cli.start, skep.cli.inspection, skep.cli.control\n"
        "print([name for name in sys.modules if name.startswith('skep.cli.top')])"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
