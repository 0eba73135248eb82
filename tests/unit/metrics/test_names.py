import re
import subprocess
import sys

import pytest

from skep.metrics.names import BY_NAME, CATALOGUE, METHODS, Metric
from skep.metrics.subscriber import RULES

FED_BY_HAND = {
    "http_requests_total",
    "http_request_duration_seconds",
    "http_requests_in_progress",
    "http_exceptions_total",
    "http_connections",
    "http_refusals_total",
    "http_requests_aborted_total",
    "http_connections_opened_total",
    "http_accept_queue_seconds",
    "http_request_size_bytes",
    "http_response_size_bytes",
    "http_trailers_dropped_total",
    "metrics_collect_errors_total",
    "tasks_total",
    "tasks_dead_total",
    "task_retries_total",
    "event_deliveries_total",
    "worker_gc_collections_total",
    "worker_gc_seconds_total",
    "worker_requests_total",
    "websocket_connections",
    "websocket_opens_total",
    "websocket_refusals_total",
    "websocket_closes_total",
    "websocket_messages_total",
    "websocket_message_bytes_total",
    "websocket_connection_duration_seconds",
    "websocket_send_queue_messages",
    "websocket_pushes_total",
    "socket_connections",
    "socket_opens_total",
    "socket_closes_total",
    "socket_frames_total",
    "socket_bytes_total",
}


def name(metric: Metric) -> str:
    return metric.name


@pytest.mark.parametrize("metric", CATALOGUE, ids=name)
def test_names_and_labels_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.help.endswith(".")
    # Prometheus gives `job` and `instance` to the target; a series with them is renamed.
    assert not {"job", "instance", "le", "quantile"} & set(metric.labels)


@pytest.mark.parametrize("metric", CATALOGUE, ids=name)
def test_buckets_belong_to_histograms_and_rise(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_no_name_stands_twice() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    # Nor does a gauge bear the name of a counter without its suffix: OpenMetrics calls both alike,
    # and the client library refuses the second.
    assert len({metric.exposed.removesuffix("_total") for metric in CATALOGUE}) == len(CATALOGUE)


def test_what_workers_produce_is_fed_by_a_rule_or_by_hand() -> None:
    produced = {metric.name for metric in CATALOGUE if metric.source != "supervisor"}
    assert produced == {rule.metric for rule in RULES} | FED_BY_HAND


def test_zeros_are_what_the_given_and_the_closed_labels_make() -> None:
    assert BY_NAME["cron_misfires_total"].zeros({"cron": "a.b"}) == [
        ("a.b", "late"),
        ("a.b", "overlap"),
    ]
    assert BY_NAME["http_exceptions_total"].zeros({}) == []
    durations = BY_NAME["http_request_duration_seconds"]
    assert durations.zeros({"route": "/x"}) == [(method, "/x") for method in METHODS]


def test_siblings_are_what_could_have_been_counted_instead() -> None:
    """B22. A method is given by the client, and is none of the outcomes."""
    assert BY_NAME["cron_misfires_total"].siblings(("a.b", "late")) == [("a.b", "overlap")]
    assert BY_NAME["http_requests_total"].siblings(("GET", "/", "200")) == []
    assert BY_NAME["watch_backend"].siblings(("inotify",)) == []


def test_a_gauge_has_no_zero_because_nothing_was_measured() -> None:
    assert BY_NAME["config_source"].zeros({}) == []


def test_the_catalogue_and_the_ledger_load_no_third_party_package() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import skep.metrics.names, skep.supervisor.metrics.ledger, skep.metrics.exposition\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'skep'}))"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr
