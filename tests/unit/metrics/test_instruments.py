import gc
import math

import pytest
from prometheus_client import CollectorRegistry

from skep.metrics.instruments import Instruments
from skep.metrics.names import BY_NAME, CATALOGUE, MAX_SERIES, OTHER, Source


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def families(registry: CollectorRegistry) -> set[str]:
    return {metric.name for metric in registry.collect()}


@pytest.mark.parametrize(
    ("pool", "sources"),
    [
        ("web", ["web"]),
        ("task", ["task", "cron"]),
        ("cron", ["cron"]),
        ("agent", ["agent"]),
        ("process.ticker", ["worker"]),
    ],
)
def test_a_worker_has_the_instruments_of_its_kind(pool: str, sources: list[Source]) -> None:
    instruments = Instruments(CollectorRegistry(), pool)
    assert {metric.name for metric in CATALOGUE if metric.name in instruments} == {
        metric.name for metric in CATALOGUE if metric.source in (*sources, "worker")
    }


def test_what_can_be_foreseen_is_shown_at_zero(registry: CollectorRegistry) -> None:
    instruments = Instruments(registry, "cron")
    assert registry.get_sample_value("platform_cron_clock_jumps_total") == 0
    runs = {"cron": "pulse.beat", "outcome": "timeout"}
    assert registry.get_sample_value("platform_cron_runs_total", runs) is None
    instruments.expect(cron="pulse.beat")
    assert registry.get_sample_value("platform_cron_runs_total", runs) == 0
    assert registry.get_sample_value("platform_cron_lag_seconds_count", {"cron": "pulse.beat"}) == 0
    assert registry.get_sample_value("platform_cron_running", {"cron": "pulse.beat"}) is None
    collections = {"pool": "cron", "generation": "2"}
    assert registry.get_sample_value("platform_worker_gc_collections_total", collections) == 0


def test_runs_of_the_garbage_collector_are_counted_and_timed(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "callbacks", [])
    Instruments(registry, "cron").watch_garbage()
    (count,) = gc.callbacks
    for _ in range(3):
        count("start", {"generation": 2})
        count("stop", {"generation": 2})
    runs = {"pool": "cron", "generation": "2"}
    assert registry.get_sample_value("platform_worker_gc_collections_total", runs) == 3
    assert registry.get_sample_value("platform_worker_gc_seconds_total", {"pool": "cron"})


def test_the_worker_s_own_pool_need_not_be_said(registry: CollectorRegistry) -> None:
    instruments = Instruments(registry, "process.ticker")
    instruments.child("worker_gc_collections_total", generation="none").inc(2)
    labels = {"pool": "process.ticker", "generation": "none"}
    assert registry.get_sample_value("platform_worker_gc_collections_total", labels) == 2


def test_too_many_labels_are_folded_where_they_are_open(registry: CollectorRegistry) -> None:
    children = Instruments(registry, "cron").children("cron_runs_total")
    outcomes = len(BY_NAME["cron_runs_total"].labels["outcome"] or ())
    fitting = math.ceil(MAX_SERIES / outcomes)
    for number in range(fitting + 500):
        children[f"cron-{number}", "failure"].inc()
    folded = {"cron": OTHER, "outcome": "failure"}
    assert registry.get_sample_value("platform_cron_runs_total", folded) == 500
    assert len(children) == (fitting + 1) * outcomes


def test_one_outcome_shows_the_others_at_zero(registry: CollectorRegistry) -> None:
    """B22: `increase()` sees the first of each."""
    instruments = Instruments(registry, "cron")
    instruments.children("cron_runs_total")["a.b", "success"].inc()
    for outcome in BY_NAME["cron_runs_total"].labels["outcome"] or ():
        labels = {"cron": "a.b", "outcome": outcome}
        number = registry.get_sample_value("platform_cron_runs_total", labels)
        assert number == (outcome == "success")
