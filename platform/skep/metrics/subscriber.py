"""From telemetry points to metrics: one rule per row.

Labels are taken from the fields of the point by their names; `pool` is the worker's own. The rules
are also the list of the points that the platform's code publishes, with their fields.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from skep.base.telemetry import Subscriber, Telemetry
from skep.metrics.instruments import Instruments


@dataclass(frozen=True)
class Rule:
    """What a point does to a metric.

    `how` is to raise it by the `number` field (by 1 if there is none), to lower it by 1, to observe
    or set that field, or to set the time of now. With `outcomes` only points with such an `outcome`
    count. `labels` are those that are not fields.
    """

    point: str
    metric: str
    how: Literal["inc", "dec", "observe", "set", "now"] = "inc"
    number: str = ""
    outcomes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


_PULLED = ("changed", "unchanged")

RULES = (
    Rule("task.enqueued", "tasks_enqueued_total"),
    Rule("task.finished", "task_duration_seconds", "observe", "seconds"),
    Rule("task.waited", "task_wait_duration_seconds", "observe", "seconds"),
    Rule("task.cut_off", "task_cut_offs_total"),
    Rule("task.running", "tasks_running", "inc", "by"),
    Rule("queue.measured", "tasks_queued", "set", "ready"),
    Rule("queue.measured", "tasks_scheduled", "set", "scheduled"),
    Rule("queue.measured", "task_dead_letters", "set", "dead"),
    Rule("queue.measured", "task_oldest_queued_timestamp_seconds", "set", "oldest"),
    Rule("queue.measured", "task_queue_capacity", "set", "capacity"),
    Rule("store.turn", "store_turn_duration_seconds", "observe", "seconds"),
    Rule("store.turn", "store_requests_total", "inc", "requests"),
    Rule("store.measured", "store_disk_full", "set", "scarce"),
    Rule("store.measured", "events_pending", "set", "events"),
    Rule("store.corrupt", "store_corruptions_total"),
    Rule("event.published", "events_published_total"),
    Rule("event.started", "event_delivery_lag_seconds", "observe", "lag"),
    Rule("event.delivered", "event_listener_duration_seconds", "observe", "seconds"),
    Rule("cron.leads", "cron_leader", "set", "leads"),
    Rule("cron.due", "cron_next_run_timestamp_seconds", "set", "next"),
    Rule("cron.started", "cron_lag_seconds", "observe", "lag"),
    Rule("cron.started", "cron_running"),
    Rule("cron.finished", "cron_running", "dec"),
    Rule("cron.finished", "cron_runs_total"),
    Rule("cron.finished", "cron_duration_seconds", "observe", "seconds"),
    Rule("cron.finished", "cron_last_run_timestamp_seconds", "now"),
    Rule("cron.finished", "cron_last_success_timestamp_seconds", "now", outcomes=("success",)),
    Rule("cron.misfired", "cron_misfires_total", "inc", "count"),
    Rule("cron.cut", "cron_runs_total"),
    Rule("cron.cut", "cron_last_run_timestamp_seconds", "now"),
    Rule("cron.hung", "cron_hangs_total"),
    Rule("cron.stopped", "cron_stopped", "set", "stopped"),
    Rule("cron.clock_jumped", "cron_clock_jumps_total"),
    Rule("config.pull", "config_pulls_total"),
    Rule("config.pull", "config_pull_errors_total", outcomes=("error",)),
    Rule("config.pull", "config_pull_duration_seconds", "observe", "seconds"),
    Rule(
        "config.pull",
        "config_last_pull_timestamp_seconds",
        "now",
        outcomes=_PULLED,
        labels={"outcome": "success"},
    ),
    Rule("config.pull", "config_last_pull_timestamp_seconds", "now", outcomes=("error",)),
    Rule("config.notification", "config_notifications_total"),
    Rule("config.long_poll", "config_long_poll_connected", "set", "connected"),
    Rule("watch.backend", "watch_backend", "set", "used"),
    Rule("watch.event", "watch_events_total"),
    Rule("watch.error", "watch_errors_total"),
    Rule("table.measured", "table_rows", "set", "rows"),
    Rule("table.measured", "table_capacity_rows", "set", "capacity"),
    Rule("tables.measured", "table_memory_bytes", "set", "bytes"),
    Rule("table.used", "table_operations_total", "inc", "count"),
    Rule("process.sent", "process_messages_sent_total"),
    Rule("process.received", "process_messages_received_total"),
    Rule("process.refused", "process_messages_refused_total"),
    Rule("process.requested", "process_request_duration_seconds", "observe", "seconds"),
)


def subscribe(
    telemetry: Telemetry, instruments: Instruments, clock: Callable[[], float] = time.time
) -> None:
    """Subscribe this worker's instruments to the telemetry points."""
    for rule in RULES:
        if rule.metric in instruments:
            telemetry.subscribe(rule.point, _subscriber(rule, instruments, clock))
    telemetry.subscribe("store.counted", partial(_set_counted, instruments))


def _set_counted(instruments: Instruments, fields: Mapping[str, Any]) -> None:
    instruments.children(fields["metric"])[fields["labels"]].set(fields["number"])


def _subscriber(rule: Rule, instruments: Instruments, clock: Callable[[], float]) -> Subscriber:
    children = instruments.children(rule.metric)
    names = children.metric.own_labels
    fixed = {"pool": instruments.pool, **rule.labels}
    act = _act(rule, clock)

    # Bound once, because tasks pass here many thousand times a second.
    def subscriber(fields: dict[str, Any]) -> None:
        if rule.outcomes and fields["outcome"] not in rule.outcomes:
            return
        act(children[tuple([fixed.get(n) or fields[n] for n in names])], fields)

    return subscriber


def _act(rule: Rule, clock: Callable[[], float]) -> Callable[[Any, dict[str, Any]], None]:
    """Return what is done to the instrument, given the fields of the point."""
    number = rule.number
    match rule.how:
        case "inc":
            return lambda child, fields: child.inc(fields[number] if number else 1)
        case "dec":
            return lambda child, fields: child.dec()
        case "observe":
            return lambda child, fields: child.observe(fields[number])
        case "set":
            return lambda child, fields: child.set(fields[number])
        case "now":
            return lambda child, fields: child.set(clock())
