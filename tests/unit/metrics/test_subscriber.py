from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from skep.base.telemetry import Telemetry
from skep.metrics.instruments import Instruments
from skep.metrics.subscriber import RULES, subscribe

NOW = 1_700_000_000.0


class Worker:
    """A worker's telemetry with metrics subscribed to it."""

    def __init__(self, pool: str) -> None:
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry()
        subscribe(self.telemetry, Instruments(self.registry, pool), clock=lambda: NOW)

    def tell(self, point: str, **fields: Any) -> None:
        self.telemetry.point(point, **fields)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"platform_{name}", labels)


def test_a_finished_task_is_timed() -> None:
    worker = Worker("task")
    worker.tell("task.running", queue="mail", by=1)
    assert worker.value("tasks_running", queue="mail") == 1
    worker.tell("task.finished", task="a.B", queue="mail", outcome="success", seconds=0.3)
    worker.tell("task.running", queue="mail", by=-1)
    assert worker.value("task_duration_seconds_sum", task="a.B") == 0.3
    assert worker.value("tasks_running", queue="mail") == 0


def test_the_state_of_a_queue_is_set_not_added() -> None:
    worker = Worker("store")
    rest = {"scheduled": 1, "dead": 2, "oldest": NOW, "capacity": 10}
    for ready in (5, 3):
        worker.tell("queue.measured", queue="mail", ready=ready, **rest)
    assert worker.value("tasks_queued", queue="mail") == 3
    assert worker.value("task_dead_letters", queue="mail") == 2
    assert worker.value("task_oldest_queued_timestamp_seconds", queue="mail") == NOW
    assert worker.value("task_queue_capacity", queue="mail") == 10


def test_what_the_store_has_counted_in_all_is_set() -> None:
    worker, labels = Worker("store"), ("a.B", "mail", "failure")
    for number in (3, 5):
        worker.tell("store.counted", metric="tasks_total", labels=labels, number=number)
    assert worker.value("tasks_total", task="a.B", queue="mail", outcome="failure") == 5
    # And what could have happened instead is there, at zero
    assert worker.value("tasks_total", task="a.B", queue="mail", outcome="success") == 0


@pytest.mark.parametrize(("outcome", "succeeded"), [("success", NOW), ("failure", None)])
def test_only_a_run_that_ended_well_sets_the_time_of_success(
    outcome: str, succeeded: float | None
) -> None:
    worker = Worker("cron")
    worker.tell("cron.started", cron="a.b", lag=0.002)
    assert worker.value("cron_running", cron="a.b") == 1
    worker.tell("cron.finished", cron="a.b", outcome=outcome, seconds=1)
    assert worker.value("cron_running", cron="a.b") == 0
    assert worker.value("cron_runs_total", cron="a.b", outcome=outcome) == 1
    assert worker.value("cron_last_run_timestamp_seconds", cron="a.b") == NOW
    assert worker.value("cron_last_success_timestamp_seconds", cron="a.b") == succeeded


def test_misfires_count_every_moment_missed() -> None:
    worker = Worker("cron")
    worker.tell("cron.misfired", cron="a.b", reason="late", count=19)
    assert worker.value("cron_misfires_total", cron="a.b", reason="late") == 19


def test_a_pull_that_changed_nothing_is_still_a_success() -> None:
    worker = Worker("agent")
    pull = {"namespace": "application", "reason": "", "seconds": 0.2}
    worker.tell("config.pull", outcome="unchanged", **pull)
    last = "config_last_pull_timestamp_seconds"
    assert worker.value(last, namespace="application", outcome="success") == NOW
    assert worker.value(last, namespace="application", outcome="error") is None
    assert worker.value("config_pull_duration_seconds_count") == 1


def test_a_pull_that_failed_is_counted_by_reason() -> None:
    worker = Worker("agent")
    worker.tell("config.pull", namespace="n", outcome="error", reason="timeout", seconds=5)
    assert worker.value("config_pull_errors_total", namespace="n", reason="timeout") == 1
    assert worker.value("config_pulls_total", namespace="n", outcome="error") == 1
    last = "config_last_pull_timestamp_seconds"
    assert worker.value(last, namespace="n", outcome="error") == NOW


def test_every_rule_finds_its_labels_and_its_number() -> None:
    """All points at once, with every field that any of them has."""
    fields = {
        **dict.fromkeys(("task", "queue", "event", "listener", "cron", "namespace"), "x"),
        **dict.fromkeys(("reason", "kind", "backend", "table", "op", "process"), "x"),
        **dict.fromkeys(("seconds", "by", "ready", "scheduled", "dead", "oldest"), 1),
        **dict.fromkeys(("next", "lag", "count", "connected", "used", "leads", "stopped"), 1),
        **dict.fromkeys(("capacity", "scarce", "events", "requests", "rows", "bytes"), 1),
    }
    for pool in ("task", "cron", "agent", "store"):
        worker = Worker(pool)
        for point in {rule.point for rule in RULES}:
            for outcome in ("success", "changed", "error"):
                worker.tell(point, outcome=outcome, **fields)
        names = {sample.name for m in worker.registry.collect() for sample in m.samples}
        instruments = Instruments(CollectorRegistry(), pool)
        for rule in RULES:
            if rule.metric in instruments:
                assert {f"platform_{rule.metric}", f"platform_{rule.metric}_count"} & names
