import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from skep.base.errors import InternalError
from skep.metrics.counter_page import Counted
from skep.metrics.exposition import render_openmetrics, render_text
from skep.metrics.frames import Framer
from skep.metrics.names import MAX_SERIES, OTHER
from skep.supervisor.metrics.ledger import MAX_FAMILIES, Ledger

Values = dict[tuple[tuple[str, str], ...], Any]


def shown(ledger: Ledger, name: str) -> Values:
    """What `/metrics` would show of one metric, by labels."""
    return {
        tuple(sorted(labels.items())): value
        for family in ledger.families()
        if family["name"] == name
        for labels, value in family["series"]
    }


def dropped(ledger: Ledger) -> dict[tuple[str, str], float]:
    values = shown(ledger, "platform_metrics_dropped_series_total")
    return {(dict(k)["metric"], dict(k)["reason"]): v for k, v in values.items() if v}


def frames(ledger: Ledger) -> dict[str, float]:
    values = shown(ledger, "platform_metrics_frames_total")
    return {dict(labels)["outcome"]: value for labels, value in values.items()}


class Worker:
    """A worker with a registry, whose frames go to the ledger through JSON."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.registry = CollectorRegistry()
        self._framer = Framer(self.registry)
        self._ledger = ledger
        self._name = name

    def flush(self) -> None:
        frame = json.loads(json.dumps(self._framer.next(), allow_nan=False))
        assert self._ledger.absorb(self._name, frame)

    def die(self) -> None:
        self._ledger.forget(self._name)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_counters_of_all_workers_are_added_and_outlive_them(ledger: Ledger) -> None:
    for name, count in (("web.0@1", 2), ("web.1@1", 3), ("web.0@2", 5)):
        worker = Worker(ledger, name)
        Counter("orders", "Orders.", ["shop"], registry=worker.registry).labels("a").inc(count)
        worker.flush()
        worker.die()
    assert shown(ledger, "orders_total") == {(("shop", "a"),): 10}


def test_histograms_of_workers_with_other_buckets_stay_monotonic(ledger: Ledger) -> None:
    # Given a generation with two buckets, and the next one with another in between
    for name, buckets in (("web.0@1", (1, 5)), ("web.0@2", (1, 2, 5))):
        worker = Worker(ledger, name)
        latency = Histogram("latency", "L.", registry=worker.registry, buckets=buckets)
        for seconds in (0.5, 1.5, 9):
            latency.observe(seconds)
        worker.flush()
    # Then each bucket holds at least what its worker put there, by itself
    (family,) = (f for f in ledger.families() if f["name"] == "latency")
    assert list(family["bounds"]) == [1, 2, 5]
    assert family["series"] == [[{}, [22.0, [2, 1, 1, 2]]]]


@pytest.mark.parametrize(
    ("mode", "expected"), [("livesum", 9), ("livemax", 7), ("livemin", 2), ("livemostrecent", 2)]
)
def test_gauges_are_merged_as_they_say(ledger: Ledger, mode: Any, expected: float) -> None:
    for name, size in (("web.0@1", 7), ("web.1@1", 2)):
        worker = Worker(ledger, name)
        Gauge("size", "Size.", registry=worker.registry, multiprocess_mode=mode).set(size)
        worker.flush()
    assert shown(ledger, "size") == {(): expected}


def test_a_gauge_ends_with_its_worker_and_what_was_set_last_stays(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    Gauge("size", "Size.", registry=worker.registry).set(7)
    Gauge("seen", "S.", registry=worker.registry, multiprocess_mode="mostrecent").set(9)
    worker.flush()
    worker.die()
    assert shown(ledger, "size") == {}
    assert shown(ledger, "seen") == {(): 9}


def test_while_generations_overlap_the_younger_speaks_for_the_slot(ledger: Ledger) -> None:
    def value(name: str, lag: float) -> Worker:
        worker = Worker(ledger, name)
        Gauge("lag", "Lag.", registry=worker.registry, multiprocess_mode="liveall").set(lag)
        worker.flush()
        return worker

    # Given two slots of a generation
    old, _ = value("web.0@9", 1), value("web.1@9", 2)
    assert shown(ledger, "lag") == {(("worker", "web.0"),): 1, (("worker", "web.1"),): 2}
    # When the next one comes, the slot's series goes on with its value
    young = value("web.0@10", 3)
    old.flush()
    assert shown(ledger, "lag")[(("worker", "web.0"),)] == 3
    # And when that one fails and is rolled back, the old one speaks again
    young.die()
    assert shown(ledger, "lag")[(("worker", "web.0"),)] == 1


def test_what_was_measured_of_a_slot_ends_when_no_process_fills_it(ledger: Ledger) -> None:
    memory = "platform_worker_resident_memory_bytes"
    slot = (("pool", "web"), ("worker", "web.1"))
    for name in ("web.0", "web.1"):
        ledger.set("worker_resident_memory_bytes", 5, pool="web", worker=name)
    old, young = Worker(ledger, "web.1@1"), Worker(ledger, "web.1@2")
    old.flush()
    young.flush()
    old.die()
    assert slot in shown(ledger, memory)
    young.die()
    assert shown(ledger, memory) == {(("pool", "web"), ("worker", "web.0")): 5}


def test_info_of_many_workers_is_still_one(ledger: Ledger) -> None:
    for name in ("web.0@1", "web.1@1"):
        worker = Worker(ledger, name)
        Info("build", "B.", registry=worker.registry).info({"version": "3"})
        worker.flush()
    assert shown(ledger, "build_info") == {(("version", "3"),): 1}


def test_a_worker_that_comes_back_under_the_same_name_starts_anew(ledger: Ledger) -> None:
    for _ in range(2):
        worker = Worker(ledger, "web.0@1")
        Counter("orders", "Orders.", registry=worker.registry).inc(4)
        worker.flush()
        worker.die()
    assert shown(ledger, "orders_total") == {(): 8}


def test_a_bad_frame_changes_nothing_but_is_counted(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    orders = Counter("orders", "Orders.", registry=worker.registry)
    worker.flush()
    # The first half of this frame is good
    bad = {"families": [[7, "size", "gauge", "", "sum"]], "series": [[8, 7, {}]], "add": [[99, 1]]}
    assert ledger.absorb("web.0@1", bad) is False
    assert frames(ledger) == {"ok": 1, "bad": 1, "late": 0}
    orders.inc()
    worker.flush()
    assert shown(ledger, "orders_total") == {(): 1}
    assert ledger.absorb("web.0@1", {"set": [[8, 1]]}) is False


def test_labels_that_end_and_begin_again_in_one_frame_are_still_there(ledger: Ledger) -> None:
    first = {
        "families": [[1, "size", "gauge", "", "sum"]],
        "series": [[2, 1, {"a": "1", "b": "2"}]],
        "set": [[2, 5]],
    }
    again = {"drop": [2], "series": [[3, 1, {"b": "2", "a": "1"}]], "set": [[3, 6]]}
    assert ledger.absorb("web.0@1", first)
    assert ledger.absorb("web.0@1", again)
    assert shown(ledger, "size") == {(("a", "1"), ("b", "2")): 6}


def test_a_clash_of_types_is_refused_and_the_worker_s_other_metrics_go_on(ledger: Ledger) -> None:
    first, second = Worker(ledger, "web.0@1"), Worker(ledger, "web.0@2")
    Gauge("size", "Size.", registry=first.registry).set(3)
    first.flush()
    histogram = Histogram("size", "Size.", registry=second.registry, buckets=(1,))
    orders = Counter("orders", "Orders.", registry=second.registry)
    for _ in range(2):
        histogram.observe(1)
        orders.inc()
        second.flush()
    assert shown(ledger, "size") == {(): 3}
    assert shown(ledger, "orders_total") == {(): 2}
    assert dropped(ledger) == {("size", "clash"): 1}


def test_a_sample_name_belongs_to_one_metric(ledger: Ledger) -> None:
    worker, other = Worker(ledger, "web.0@1"), Worker(ledger, "web.1@1")
    Histogram("size", "Size.", registry=worker.registry, buckets=(1,))
    worker.flush()
    Gauge("size_count", "Size.", registry=other.registry).set(1)
    other.flush()
    assert shown(ledger, "size_count") == {}
    assert sum(dropped(ledger).values()) == 1


def test_a_plugin_cannot_change_the_type_of_a_platform_metric(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    Gauge("platform_http_requests_total", "?", registry=worker.registry).set(1)
    worker.flush()
    assert shown(ledger, "platform_http_requests_total") == {}


def test_too_many_series_of_one_metric_are_dropped_and_counted() -> None:
    ledger = Ledger(max_series=3)
    worker = Worker(ledger, "web.0@1")
    orders = Counter("orders", "Orders.", ["user"], registry=worker.registry)
    for user in range(5):
        orders.labels(str(user)).inc()
    worker.flush()
    orders.labels("0").inc()
    orders.labels("4").inc()
    worker.flush()
    values = shown(ledger, "orders_total")
    assert len(values) == 3
    assert values[(("user", "0"),)] == 2
    assert dropped(ledger) == {("orders_total", "limit"): 2}


def test_too_many_metrics_are_dropped_under_one_name(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    for number in range(MAX_FAMILIES + 10):
        Gauge(f"size_{number}", "Size.", registry=worker.registry)
    worker.flush()
    theirs = [f for f in ledger.families() if f["name"].startswith("size_")]
    assert len(theirs) < MAX_FAMILIES
    assert dropped(ledger).keys() == {(OTHER, "limit")}


def test_what_a_counter_has_come_to_in_all_is_shown_whoever_says_it(ledger: Ledger) -> None:
    """The store keeps such counters on the disk, and its successor goes on with them."""
    name, labels = "platform_tasks_total", {"task": "a", "queue": "q", "outcome": "success"}
    frame = {
        "families": [[1, name, "counter", "", "latest"]],
        "series": [[2, 1, labels]],
        "set": [[2, 40]],
    }
    assert ledger.absorb("store.0@1", frame)
    assert ledger.absorb("store.0@1", {"set": [[2, 41]]})
    ledger.forget("store.0@1")
    assert list(shown(ledger, name).values()) == [41]
    assert ledger.absorb("store.0@2", {**frame, "set": [[2, 41]]})
    assert list(shown(ledger, name).values()) == [41]
    # It is not added to, and does not go below zero
    for bad in ({"add": [[2, 1]]}, {"set": [[2, -1]]}, {"set": [[2, "NaN"]]}):
        assert not ledger.absorb("store.0@2", bad)
    # And nothing else can be set like that
    frame["families"] = [[1, "platform_cron_clock_jumps_total", "counter", "", "latest"]]
    frame["series"] = [[2, 1, {}]]
    ledger.absorb("cron.0@1", frame)
    assert shown(ledger, "platform_cron_clock_jumps_total") == {}


def test_names_prometheus_cannot_read_are_refused(ledger: Ledger) -> None:
    frame = {
        "families": [[1, "größe", "gauge", "", "sum"], [2, "size", "gauge", "", "sum"]],
        "series": [[3, 1, {}], [4, 2, {"straße": "x"}], [5, 2, {}]],
        "set": [[3, 1], [4, 1], [5, 1]],
    }
    assert ledger.absorb("web.0@1", frame)
    assert shown(ledger, "size") == {(): 1}
    assert sum(dropped(ledger).values()) == 2


def test_the_supervisor_s_own_metrics_stand_beside_the_others(ledger: Ledger) -> None:
    ledger.add("worker_exits_total", pool="web", reason="signal")
    ledger.add("worker_cpu_seconds_total", 2.5, pool="web", worker="web.0")
    ledger.set("generation", 3)
    ledger.observe("reload_duration_seconds", 0.3, reason="code")
    exits = (("pool", "web"), ("reason", "signal"))
    assert shown(ledger, "platform_worker_exits_total")[exits] == 1
    assert shown(ledger, "platform_generation") == {(): 3}
    total, counts = shown(ledger, "platform_reload_duration_seconds")[(("reason", "code"),)]
    assert (total, counts[:4]) == (0.3, [0, 0, 1, 0])


@pytest.mark.parametrize(("value", "bucket"), [(0.1, 0), (0.1001, 1), (120, 9), (121, 10)])
def test_a_value_on_a_bound_falls_into_its_bucket(
    ledger: Ledger, value: float, bucket: int
) -> None:
    ledger.observe("reload_duration_seconds", value, reason="code")
    _, counts = shown(ledger, "platform_reload_duration_seconds")[(("reason", "code"),)]
    assert counts.index(1) == bucket


@pytest.mark.parametrize(
    "act",
    [
        lambda ledger: ledger.add("worker_exit_total", pool="web", reason="signal"),
        lambda ledger: ledger.add("worker_exits_total", pool="web"),
        lambda ledger: ledger.set("worker_exits_total", 1, pool="web", reason="signal"),
        lambda ledger: ledger.clear("worker_exit_total"),
    ],
)
def test_what_is_not_in_the_catalogue_is_our_own_bug(ledger: Ledger, act: Any) -> None:
    with pytest.raises(InternalError):
        act(ledger)


def test_a_release_no_longer_in_force_is_cleared(ledger: Ledger) -> None:
    for namespace in ("application", "db"):
        ledger.set("config_info", 1, app="a", cluster="c", namespace=namespace, release="r1")
    ledger.clear("config_info", namespace="application")
    assert [dict(labels)["namespace"] for labels in shown(ledger, "platform_config_info")] == ["db"]


def test_a_cleared_counter_starts_from_zero_when_its_worker_speaks_again(ledger: Ledger) -> None:
    worker = Worker(ledger, "cron.0@1")
    runs = Counter(
        "platform_cron_runs_total", "R.", ["cron", "outcome"], registry=worker.registry
    ).labels("a.b", "success")
    runs.inc(5)
    worker.flush()
    ledger.clear("cron_runs_total", cron="a.b")
    runs.inc()
    worker.flush()
    assert list(shown(ledger, "platform_cron_runs_total").values()) == [1]


def test_what_can_be_foreseen_is_shown_at_zero(ledger: Ledger) -> None:
    assert len(shown(ledger, "platform_reloads_total")) == 35
    assert shown(ledger, "platform_worker_exits_total") == {}
    ledger.expect(pool="web")
    assert set(shown(ledger, "platform_worker_exits_total").values()) == {0}
    # A gauge was not measured yet
    assert shown(ledger, "platform_worker_processes") == {}


def test_the_number_of_series_is_that_of_the_lines(ledger: Ledger) -> None:
    ledger.expect(pool="web")
    ledger.families()
    families = ledger.families()
    lines = [li for li in render_text(families).splitlines() if not li.startswith("#")]
    assert shown(ledger, "platform_metrics_series") == {(): len(lines)}


def test_families_are_strict_json(ledger: Ledger) -> None:
    ledger.set("system_load1", float("nan"))
    ledger.observe("metrics_scrape_duration_seconds", 1e9)
    json.dumps(ledger.families(), allow_nan=False)


# One life: which slot it fills, what it does (count in a shop, or flush), whether it is killed
# before a last flush.
LIFE = st.tuples(
    st.sampled_from(["web.0", "web.1"]),
    st.lists(st.one_of(st.sampled_from("abc"), st.none()), max_size=12),
    st.booleans(),
)


def live(ledger: Ledger, number: int, life: Any) -> Iterator[dict[str, int]]:
    """Live one life; after each flush, tell how often it has counted what was flushed."""
    slot, acts, killed = life
    worker = Worker(ledger, f"{slot}@{number}")
    orders = Counter("orders", "Orders.", ["shop"], registry=worker.registry)
    spent = Histogram("spent", "Spent.", ["shop"], registry=worker.registry, buckets=(1, 2))
    Gauge("alive", "Alive.", registry=worker.registry).set(1)
    counted: dict[str, int] = {}
    for act in [*acts, *([] if killed else [None])]:
        if act is None:
            worker.flush()
            yield dict(counted)
        else:
            orders.labels(act).inc()
            spent.labels(act).observe(1.5)
            counted[act] = counted.get(act, 0) + 1
    worker.die()


@settings(max_examples=60)
@given(st.lists(LIFE, max_size=6), st.randoms(use_true_random=False))
def test_totals_never_go_back_and_equal_what_was_flushed(lives: Any, random: Any) -> None:
    # Given many lives that overlap in any order, some ended by a kill
    ledger = Ledger()
    living = {number: live(ledger, number, life) for number, life in enumerate(lives)}
    flushed: dict[int, dict[str, int]] = {}
    before: Values = {}
    while living:
        number = random.choice(sorted(living))
        counted = next(living[number], None)
        if counted is None:
            del living[number]
        else:
            flushed[number] = counted
        # Then at every moment the totals are what was flushed, and none is below what it was
        now = shown(ledger, "orders_total")
        expected: Values = {}
        for counts in flushed.values():
            for shop, count in counts.items():
                key = (("shop", shop),)
                expected[key] = expected.get(key, 0) + count
        assert now == expected
        assert all(now[key] >= value for key, value in before.items())
        spent = shown(ledger, "spent")
        assert {key: counts[1] for key, (_, counts) in spent.items()} == expected
        before = now
    # And no gauge is left of the dead
    assert shown(ledger, "alive") == {}


def counted(name: str, value: float, counts: dict[float, float] | None = None) -> Counted:
    kind = "histogram" if counts else "counter"
    return Counted(name, kind, "Help.", (("shop", "a"),), value, counts or {})


def test_what_a_killed_worker_had_not_sent_is_added_once(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    orders = Counter("orders", "Orders.", ["shop"], registry=worker.registry).labels("a")
    price = Histogram("price", "P.", ["shop"], registry=worker.registry, buckets=(1, 5)).labels("a")
    Counter("refunds", "Refunds.", ["shop"], registry=worker.registry)
    for _ in range(3):
        orders.inc()
        price.observe(2)
    worker.flush()
    # Given that it counted two more of each, one with labels that no frame had, and one in a
    # registry that is not shown
    page = [
        counted("orders_total", 5),
        counted("price", 10, {1: 0, 5: 5, math.inf: 0}),
        counted("refunds_total", 1),
        counted("private_total", 1),
    ]
    absorbed = ledger.forget("web.0@1")
    for _ in range(2):
        ledger.settle(absorbed, page)
    labels = (("shop", "a"),)
    assert shown(ledger, "orders_total") == {labels: 5}
    assert shown(ledger, "price") == {labels: [10, [0, 5, 0]]}
    assert shown(ledger, "refunds_total") == {labels: 1}
    assert shown(ledger, "private_total") == {}


def test_a_counter_that_was_reset_is_not_lowered_by_its_page(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    orders = Counter("orders", "Orders.", ["shop"], registry=worker.registry).labels("a")
    orders.inc(5)
    worker.flush()
    ledger.settle(ledger.forget("web.0@1"), [counted("orders_total", 2)])
    assert shown(ledger, "orders_total") == {(("shop", "a"),): 5}


def test_labels_that_utf_8_cannot_write_are_not_counted_twice(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    orders = Counter("orders", "Orders.", ["shop"], registry=worker.registry)
    orders.labels("\udc80").inc(3)
    worker.flush()
    page = [Counted("orders_total", "counter", "Orders.", (("shop", "\udc80"),), 3.0)]
    ledger.settle(ledger.forget("web.0@1"), page)
    assert shown(ledger, "orders_total") == {(("shop", "?"),): 3}


def test_a_number_that_cannot_be_a_count_costs_only_its_own_series(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    for name in ("orders", "refunds"):
        Counter(name, "O.", ["shop"], registry=worker.registry)
    Histogram("price", "P.", ["shop"], registry=worker.registry)
    worker.flush()
    page = [
        counted("orders_total", math.inf),
        counted("price", math.nan, {1: 1, math.inf: 0}),
        counted("refunds_total", 7),
    ]
    ledger.settle(ledger.forget("web.0@1"), page)
    assert shown(ledger, "orders_total") == shown(ledger, "price") == {}
    assert shown(ledger, "refunds_total") == {(("shop", "a"),): 7}
    assert not frames(ledger)["bad"]


def test_a_sum_that_has_become_too_large_is_shown_as_infinite(ledger: Ledger) -> None:
    for name in ("web.0@1", "web.1@1"):
        worker = Worker(ledger, name)
        Counter("orders", "Orders.", registry=worker.registry).inc(1.7e308)
        worker.flush()
    assert "orders_total +Inf\n" in render_text(ledger.families())


def test_a_killed_worker_with_too_many_series_is_counted_up_to_the_limit(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    Counter("orders", "Orders.", ["shop"], registry=worker.registry)
    worker.flush()
    page = [
        Counted("orders_total", "counter", "Orders.", (("shop", str(number)),), 1.0)
        for number in range(20_000)
    ]
    ledger.settle(ledger.forget("web.0@1"), page)
    assert len(shown(ledger, "orders_total")) == MAX_SERIES


def test_a_counter_per_worker_is_kept_by_slot_over_its_processes(ledger: Ledger) -> None:
    for name, count in (("web.0@1", 2), ("web.1@1", 3), ("web.0@2", 5)):
        worker = Worker(ledger, name)
        requests = Counter("platform_worker_requests", "R.", ["pool"], registry=worker.registry)
        requests.labels("web").inc(count)
        worker.flush()
        worker.die()
    assert shown(ledger, "platform_worker_requests_total") == {
        (("pool", "web"), ("worker", "web.0")): 7,
        (("pool", "web"), ("worker", "web.1")): 3,
    }


def test_the_last_example_of_a_bucket_is_shown_in_openmetrics_only(ledger: Ledger) -> None:
    worker = Worker(ledger, "web.0@1")
    price = Histogram("price", "P.", ["shop"], registry=worker.registry, buckets=(1, 5)).labels("a")
    orders = Counter("orders", "Orders.", registry=worker.registry)
    for trace in ("old", "new"):
        price.observe(3, {"trace_id": trace})
        price.observe(99, {"trace_id": trace})
        orders.inc(2, {"trace_id": trace})
        worker.flush()
    page = render_openmetrics(ledger.families())
    parsed = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
    family = next(f for f in parsed if f.name == "price")
    examples = {s.labels["le"]: s.exemplar for s in family.samples if s.exemplar}
    assert {bound: (e.labels, e.value) for bound, e in examples.items()} == {
        "5.0": ({"trace_id": "new"}, 3),
        "+Inf": ({"trace_id": "new"}, 99),
    }
    assert 'orders_total 4 # {trace_id="new"} 2 ' in page
    assert "trace_id" not in render_text(ledger.families())
