"""Every value of a label is shown before it first happens, so that `increase()` sees it."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from skep.metrics.names import CATALOGUE, Metric
from tests.acceptance.workbench import Workbench, workbench
from tests.support import wait_until

# Ten methods for each route would be ten times the page, and most never come.
NOT_SHOWN = {"method"}
# Shown when there is something to say it of.
ONLY_WITH = {
    "metrics_dropped_series_total": "a metric that was dropped",
    "watch_backend": "--watch",
    "websocket_messages_total": "a route for WebSockets",
    "websocket_message_bytes_total": "a route for WebSockets",
    "socket_bytes_total": "a listener of a plugin",
    "table_operations_total": "a table",
    "process_state": "a custom process",
    "process_exits_total": "a custom process",
    "process_messages_sent_total": "a custom process",
    "process_messages_received_total": "a custom process",
    "process_messages_refused_total": "a custom process",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("zeros"), PLATFORM_APP_ID="sample") as made:
        yield made


def series(text: str, metric: Metric) -> list[dict[str, str]]:
    """The labels of all series of a metric."""
    name = metric.exposed + ("_count" if metric.type == "histogram" else "")
    return [
        sample.labels
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def missing(text: str, metric: Metric) -> list[str]:
    """The values of closed labels that a metric does not show beside others."""
    if metric.name.endswith("_timestamp_seconds"):
        return []  # the time of what has not happened
    closed = {name: of for name, of in metric.labels.items() if of and name not in NOT_SHOWN}
    if not closed:
        return []
    groups: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for labels in series(text, metric):
        own = tuple(value for name, value in sorted(labels.items()) if name not in closed)
        groups[own].add(tuple(labels[name] for name in closed))
    if not groups and metric.name not in ONLY_WITH:
        return [f"{metric.name} has none at all"]
    wanted = set(itertools.product(*closed.values()))
    return [
        f"{metric.name}{own} lacks {sorted(wanted - found)}"
        for own, found in groups.items()
        if wanted - found
    ]


def test_every_closed_set_of_labels_is_shown_whole_from_the_start(bench: Workbench) -> None:
    """B22; metrics, case 37."""
    wait_until(lambda: "platform_tasks_total{" in bench.platform.metrics())
    text = bench.platform.metrics()
    assert [line for metric in CATALOGUE for line in missing(text, metric)] == []


def test_what_a_plugin_declares_is_shown_at_zero_before_it_happens(bench: Workbench) -> None:
    """B22: its tasks, listeners and crons."""
    wait_until(lambda: 'task="bench.Late"' in bench.platform.metrics())
    counters = bench.platform.counters()
    for name in (
        'platform_tasks_total{outcome="timeout",queue="default",task="bench.Late"}',
        'platform_tasks_total{outcome="failure",queue="default",task="bench.Fails.failed"}',
        'platform_tasks_dead_total{queue="default",task="bench.Late"}',
        'platform_task_retries_total{queue="default",task="bench.Second"}',
        'platform_task_cut_offs_total{queue="default",task="bench.Late"}',
        'platform_tasks_enqueued_total{queue="ordered",task="bench.Ordered"}',
        'platform_events_published_total{event="bench.Happening"}',
        "platform_event_deliveries_total"
        '{event="bench.Happening",listener="bench.Third",outcome="failure"}',
        'platform_cron_misfires_total{cron="bench.at_the_start",reason="late"}',
    ):
        assert counters.get(name) == 0, name
