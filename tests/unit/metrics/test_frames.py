import json
import logging
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

from skep.metrics.frames import Frame, Framer
from skep.metrics.loop_counters import LoopCounter, LoopMetric
from skep.metrics.names import BY_NAME
from skep.supervisor.metrics.ledger import Ledger


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


class Probe:
    """A collector as plugins write them; it shows what it is told to."""

    def __init__(self, *metrics: Metric) -> None:
        self.metrics = list(metrics)
        self.broken = False

    def collect(self) -> Iterator[Metric]:
        if self.broken:
            raise RuntimeError("the database is away")
        yield from self.metrics


def named(frame: Frame) -> dict[str, str]:
    return {row[1]: row[2] for row in frame.get("families", [])}


def values(frame: Frame, part: str) -> list[Any]:
    return [row[1:] for row in frame.get(part, [])]


def test_the_first_frame_has_everything_and_the_next_only_what_changed(
    registry: CollectorRegistry,
) -> None:
    # Given two counters and a gauge
    requests = Counter("requests", "Requests.", ["route"], registry=registry)
    requests.labels("/a").inc(2)
    requests.labels("/b")
    Gauge("size", "Size.", registry=registry).set(7)
    framer = Framer(registry)
    # Then the first frame defines them once, zeros included
    first = framer.next()
    assert named(first) == {"requests_total": "counter", "size": "gauge"}
    assert [row[2] for row in first["series"]] == [{"route": "/a"}, {"route": "/b"}, {}]
    assert values(first, "add") == [[2]]
    assert values(first, "set") == [[7]]
    # And what did not change is not said again
    assert framer.next() == {}
    requests.labels("/b").inc(3)
    (row,) = framer.next()["add"]
    assert row == [first["series"][1][0], 3]


def test_a_histogram_is_told_bucket_by_bucket(registry: CollectorRegistry) -> None:
    latency = Histogram("latency", "Latency.", registry=registry, buckets=(1, 5))
    framer = Framer(registry)
    assert framer.next()["series"][0][3] == [1.0, 5.0]
    for seconds in (0.5, 3, 4, 100):
        latency.observe(seconds)
    assert values(framer.next(), "observe") == [[107.5, [1, 2, 1]]]
    latency.observe(4)
    assert values(framer.next(), "observe") == [[4, [0, 1, 0]]]


def test_a_summary_is_a_distribution_without_bounds(registry: CollectorRegistry) -> None:
    Summary("size", "Size.", registry=registry).observe(3)
    frame = Framer(registry).next()
    assert named(frame) == {"size": "summary"}
    assert values(frame, "observe") == [[3, [1]]]


def test_a_counter_that_was_reset_counts_from_zero(registry: CollectorRegistry) -> None:
    counter = Counter("runs", "Runs.", registry=registry)
    counter.inc(10)
    framer = Framer(registry)
    framer.next()
    counter.reset()
    counter.inc(4)
    assert values(framer.next(), "add") == [[4]]


@pytest.mark.parametrize("returned", [1, 10, 12])
def test_labels_that_were_removed_and_return_count_from_zero(
    registry: CollectorRegistry, returned: int
) -> None:
    counter = Counter("runs", "Runs.", ["cron"], registry=registry)
    counter.labels("a").inc(10)
    framer = Framer(registry)
    framer.next()
    counter.remove("a")
    assert framer.next().keys() == {"drop"}
    counter.labels("a").inc(returned)
    assert values(framer.next(), "add") == [[returned]]


def test_a_histogram_that_returns_with_other_buckets_is_another_series(
    registry: CollectorRegistry,
) -> None:
    first = Histogram("latency", "Latency.", registry=registry, buckets=(1, 5))
    first.observe(3)
    framer = Framer(registry)
    old = framer.next()["series"][0][0]
    registry.unregister(first)
    Histogram("latency", "Latency.", registry=registry, buckets=(2,)).observe(1)
    frame = framer.next()
    assert frame["drop"] == [old]
    assert [row[3] for row in frame["series"]] == [[2.0]]
    assert values(frame, "observe") == [[1, [1, 0]]]


def test_a_gauge_that_is_gone_is_dropped(registry: CollectorRegistry) -> None:
    gauge = Gauge("rooms", "Rooms.", ["room"], registry=registry)
    gauge.labels("a").set(1)
    gauge.labels("b").set(1)
    framer = Framer(registry)
    ids = [row[0] for row in framer.next()["series"]]
    gauge.remove("a")
    assert framer.next() == {"drop": ids[:1]}
    registry.unregister(gauge)
    assert framer.next() == {"drop": ids[1:]}


def test_what_comes_and_goes_is_defined_once(registry: CollectorRegistry) -> None:
    # Given a collector that has something to show in every other frame
    rows = GaugeMetricFamily("rows", "Rows.", value=3)
    probe = Probe(rows)
    registry.register(probe)
    framer = Framer(registry)
    frames = []
    for number in range(6):
        probe.metrics = [] if number % 2 else [rows]
        frames.append(framer.next())
    # Then its series ends and comes back each time, and its family is not told again
    assert [list(frame) for frame in frames[1:4]] == [["drop"], ["series", "set"], ["drop"]]
    assert sum(len(frame.get("families", [])) for frame in frames) == 1


def test_a_name_that_changes_its_type_is_another_metric(registry: CollectorRegistry) -> None:
    probe = Probe(GaugeMetricFamily("rows", "Rows.", value=3))
    registry.register(probe)
    framer = Framer(registry)
    old = framer.next()["series"][0][0]
    probe.metrics = [Metric("rows", "Rows.", "unknown")]
    probe.metrics[0].add_sample("rows", {}, 3)
    frame = framer.next()
    assert frame["drop"] == [old]
    assert named(frame) == {"rows": "unknown"}
    assert values(frame, "set") == [[3]]


def test_info_and_enum_behave_like_gauges(registry: CollectorRegistry) -> None:
    Info("build", "Build.", registry=registry).info({"version": "1"})
    Enum("mode", "Mode.", registry=registry, states=["slow", "fast"]).state("fast")
    frame = Framer(registry).next()
    assert named(frame) == {"build_info": "info", "mode": "stateset"}
    assert [row[2] for row in frame["series"]] == [
        {"version": "1"},
        {"mode": "slow"},
        {"mode": "fast"},
    ]
    assert values(frame, "set") == [[1], [0], [1]]
    # Several workers say the same: their sum would be nonsense.
    assert {row[4] for row in frame["families"]} == {"max"}


def test_custom_collectors_take_part_and_their_labels_become_text(
    registry: CollectorRegistry,
) -> None:
    rows = GaugeMetricFamily("rows", "Rows.", labels=["table"])
    rows.add_metric([7], 3)  # type: ignore[list-item]
    registry.register(Probe(rows, CounterMetricFamily("reads", "Reads.", value=5)))
    frame = Framer(registry).next()
    assert named(frame) == {"rows": "gauge", "reads_total": "counter"}
    assert frame["series"][0][2] == {"table": "7"}
    assert values(frame, "add") == [[5]]


@pytest.mark.parametrize(
    ("mode", "merge"),
    [
        ("all", "sum"),
        ("liveall", "per_worker"),
        ("livesum", "sum"),
        ("max", "max"),
        ("livemin", "min"),
        ("mostrecent", "latest"),
    ],
)
def test_a_gauge_is_merged_as_its_author_said(
    registry: CollectorRegistry, mode: Any, merge: str
) -> None:
    Gauge("size", "Size.", registry=registry, multiprocess_mode=mode)
    assert Framer(registry).next()["families"][0][4] == merge


def test_frames_are_strict_json_even_with_numbers_json_lacks(
    registry: CollectorRegistry,
) -> None:
    gauge = Gauge("size", "Size.", ["which"], registry=registry)
    for which in ("nan", "inf", "-inf"):
        gauge.labels(which).set(float(which))
    frame = Framer(registry).next()
    assert values(frame, "set") == [["NaN"], ["+Inf"], ["-Inf"]]
    assert json.loads(json.dumps(frame, allow_nan=False)) == frame


def test_times_of_creation_are_left_out(registry: CollectorRegistry) -> None:
    Counter("runs", "Runs.", registry=registry).inc()
    Histogram("latency", "Latency.", registry=registry, buckets=(1,)).observe(2)
    frame = Framer(registry).next()
    assert len(frame["series"]) == 2
    assert values(frame, "add") == [[1]]
    assert values(frame, "observe") == [[2, [0, 1]]]


def test_a_broken_collector_hides_only_what_stands_behind_it(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    # Given the platform's registry before one with a collector that breaks
    runs = Counter("runs", "Runs.", registry=registry)
    theirs, probe, errors = CollectorRegistry(), Probe(GaugeMetricFamily("rows", "", value=3)), []
    theirs.register(probe)
    framer = Framer(registry, theirs, on_error=lambda: errors.append(1))
    framer.next()
    # When it breaks for two frames
    probe.broken = True
    runs.inc()
    with caplog.at_level(logging.ERROR):
        frames = [framer.next(), framer.next()]
    # Then the platform's metrics go on, its gauge is not taken for gone, and it is said once
    assert [f.keys() for f in frames] == [{"add"}, set()]
    assert len(errors) == 2
    assert len(caplog.records) == 1
    # And when it is well again, nothing was lost
    probe.broken = False
    assert framer.next() == {}


def test_of_two_families_with_one_name_the_first_counts(registry: CollectorRegistry) -> None:
    Gauge("size", "Ours.", registry=registry).set(1)
    other = CollectorRegistry()
    Gauge("size", "Theirs.", registry=other).set(2)
    frame = Framer(registry, other).next()
    assert [row[3] for row in frame["families"]] == ["Ours."]
    assert values(frame, "set") == [[1]]


def test_nothing_is_lost_or_doubled_while_others_count(registry: CollectorRegistry) -> None:
    # Given a counter that threads raise while others ask for frames
    counter = Counter("runs", "Runs.", registry=registry)
    latency = Histogram("latency", "Latency.", registry=registry, buckets=(1,))
    framer = Framer(registry)
    frames: list[Frame] = []

    def count() -> None:
        for _ in range(2000):
            counter.inc()
            latency.observe(0.5)
            if len(frames) < 50:
                frames.append(framer.next())

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frames.append(framer.next())
    # Then all frames together say what was counted
    assert sum(row[1] for frame in frames for row in frame.get("add", [])) == 6000
    observed = [row for frame in frames for row in frame.get("observe", [])]
    assert sum(row[1] for row in observed) == 3000
    assert sum(sum(row[2]) for row in observed) == 6000


def test_a_worker_s_default_registry_leaves_processes_to_the_supervisor() -> None:
    code = (
        "from prometheus_client import Counter, REGISTRY\n"
        "from skep.metrics.frames import Framer, adopt_process\n"
        "adopt_process(); Counter('runs', 'Runs.').inc()\n"
        "frame = Framer(REGISTRY).next()\n"
        "print([row[1] for row in frame['families']], len(frame['series']))"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "['runs_total'] 1", out.stderr


def test_not_a_number_is_told_once(registry: CollectorRegistry) -> None:
    Gauge("size", "Size.", registry=registry).set(math.nan)
    framer = Framer(registry)
    framer.next()
    assert framer.next() == {}


BAD_EXEMPLARS: list[Any] = [{"t": "x" * 200}, {"t": 5}]
ODD: list[Any] = [
    GaugeMetricFamily("up", "U.", value=True),
    GaugeMetricFamily("up", "U.", value=Decimal("1.5")),  # type: ignore[arg-type]
    GaugeMetricFamily("up", "U.", value="many"),  # type: ignore[arg-type]
    CounterMetricFamily("n", "N.", value=-1),
    HistogramMetricFamily("h", "H.", buckets=[("1", 1)], sum_value=1),
    HistogramMetricFamily("h", "H.", buckets=[("1", 5), ("+Inf", 3)], sum_value=1),
    *(
        HistogramMetricFamily("h", "H.", buckets=[("+Inf", 1, Exemplar(bad, 1.0))], sum_value=1)
        for bad in BAD_EXEMPLARS
    ),
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_value_of_a_collector_costs_no_other_metric(odd: Metric) -> None:
    """A refused frame has defined series that no later frame defines again."""
    registry = CollectorRegistry()
    registry.register(Probe(odd))
    orders = Counter("orders", "Orders.", registry=registry)
    framer, ledger = Framer(registry), Ledger()
    for _ in range(3):
        orders.inc()
        assert ledger.absorb("web.0@1", json.loads(json.dumps(framer.next(), allow_nan=False)))
    (shown,) = (f for f in ledger.families() if f["name"] == "orders_total")
    assert shown["series"] == [[{}, 3]]


def counter(registry: CollectorRegistry) -> tuple[LoopMetric, LoopCounter]:
    """An instrument whose number is in the page of counters."""
    metric = LoopMetric(BY_NAME["worker_requests_total"], registry)
    child = metric.labels("web")
    assert isinstance(child, LoopCounter)
    return metric, child


def added(framer: Framer) -> list[float]:
    return [row[1] for row in framer.next().get("add", ())]


def test_what_was_counted_while_a_collector_raised_comes_with_the_next_frame() -> None:
    registry = CollectorRegistry()
    probe = Probe()
    registry.register(probe)
    _, orders = counter(registry)
    framer = Framer(registry)
    framer.next()
    probe.broken = True
    orders.inc(5)
    assert added(framer) == []
    probe.broken = False
    assert added(framer) == [5]


def test_an_instrument_that_is_registered_again_goes_on_where_it_was() -> None:
    registry = CollectorRegistry()
    metric, orders = counter(registry)
    framer = Framer(registry)
    orders.inc(5)
    assert added(framer) == [5]
    registry.unregister(metric)
    assert added(framer) == []
    orders.inc(2)
    assert added(framer) == []
    registry.register(metric)
    assert added(framer) == [2]


def test_another_instrument_of_the_same_name_counts_from_zero() -> None:
    registry = CollectorRegistry()
    framer = Framer(registry)
    for _ in range(2):
        metric, orders = counter(registry)
        orders.inc(5)
        assert added(framer) == [5]
        registry.unregister(metric)
