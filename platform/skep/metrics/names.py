"""The catalogue: every metric of the platform, one row each.

Workers make their instruments from it, the supervisor's ledger merges by it, the reference page and
the dashboards' tests are generated from it. It loads nothing but the standard library, because the
supervisor imports it. To add a metric, add a row, and a rule in `skep.metrics.subscriber` if a
telemetry point feeds it.

Two label names are fixed: `pool` names a kind of worker (`web`, `task`, `process`), `worker`
names a slot (`web.0`) and never a process, so that series do not multiply with restarts. No label
is called `job` or `instance`: Prometheus gives these two to the target it scrapes.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Type = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min", "latest", "per_worker"]
Source = Literal["supervisor", "worker", "agent", "store", "web", "task", "cron"]

PREFIX = "platform_"
OTHER = "__other__"
MAX_SERIES = 2000

# The buckets that OpenTelemetry advises for `http.server.request.duration`.
FAST = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
LONG = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0)
REMOTE = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

Values = tuple[str, ...] | None
OPEN: Values = ()
FEW: Values = None
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER")
_STARTS = (
    "boot", "reload", "crash", "max_requests", "max_memory", "max_age", "task_timeout", "scale",
    "hung", "restart",
)  # fmt: skip
_EXITS = ("clean", "signal", "oom", "exitcode", "timeout_kill", "hang", "boot_failure")
_RELOADS = ("config", "code", "certificate", "signal", "api", "cli", "max_memory")
_PULL_ERRORS = (
    "connect",
    "timeout",
    "http_4xx",
    "http_5xx",
    "auth",
    "missing",
    "decode",
    "empty",
)
_REFUSALS = ("malformed", "headers", "header_timeout", "stalled", "slow_reader", "body",
             "connections")  # fmt: skip
PROCESS_STATES = ("starting", "running", "stopping", "hung", "backoff", "done", "failed")
_MESSAGES = ("send", "request", "stream")


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue.

    `name` is without the prefix. `labels` maps each label to the values it can have, to FEW where
    they are not known beforehand but never many, to OPEN where a mistake could make them many: when
    a worker has too many series of one metric, its OPEN labels become `__other__`.

    `merge` is how one gauge of several workers becomes one value: `latest` is the value set
    last, which stays when its worker is gone (for the time of something that happened);
    `per_worker` keeps gauges and counters apart by the label `worker`, which the ledger adds. A
    counter that is `latest` is kept on the disk by its one producer, which sends what it has come
    to in all.
    `source` is the kind of process that produces it, `worker` meaning any. `otel` is the name that
    the same thing has in OpenTelemetry's semantic conventions, in Prometheus' spelling.
    """

    name: str
    type: Type
    help: str
    source: Source
    labels: Mapping[str, Values] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    merge: Merge = "sum"
    prefix: str = PREFIX
    otel: str = ""

    @property
    def exposed(self) -> str:
        """The name on `/metrics`."""
        return self.prefix + self.name

    @property
    def own_labels(self) -> tuple[str, ...]:
        """The labels that the producer gives."""
        return tuple(n for n in self.labels if not (self.merge == "per_worker" and n == "worker"))

    @property
    def is_absolute(self) -> bool:
        """Whether its producer sends what it has come to in all, not what was added."""
        return self.type == "counter" and self.merge == "latest"

    def siblings(self, values: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return the label values of everything that could have been counted instead: when it is,
        its counter must have been 0 before. A method is not an outcome."""
        if self.type != "counter":
            return []
        names = self.own_labels
        choices = [
            (value,) if name == "method" else self.labels[name] or (value,)
            for name, value in zip(names, values, strict=True)
        ]
        return [found for found in itertools.product(*choices) if found != values]

    def folded(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return the label values under which these are counted when there are too many."""
        named = zip(self.own_labels, values, strict=True)
        return tuple(OTHER if self.labels[name] == OPEN else value for name, value in named)

    def zeros(self, given: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Return the label values that can be foreseen once the `given` labels are known.

        A counter born at 1 is invisible to `increase()`, so what can happen is shown at 0 first. A
        gauge has no such zero: nothing was measured yet.
        """
        if self.type == "gauge":
            return []
        choices = [(given[n],) if n in given else self.labels[n] or () for n in self.own_labels]
        return list(itertools.product(*choices))


def _counter(name: str, source: Source, text: str, /, **labels: Values) -> Metric:
    return Metric(name, "counter", text, source, labels)


def _per_worker(name: str, source: Source, text: str, /, **labels: Values) -> Metric:
    """A counter that is kept apart by slot, as an exception: each slot has its own series."""
    return Metric(name, "counter", text, source, labels, merge="per_worker")


def _absolute(name: str, source: Source, text: str, /, **labels: Values) -> Metric:
    """A counter that its producer keeps on the disk, also when the platform is restarted."""
    return Metric(name, "counter", text, source, labels, merge="latest")


def _gauge(
    name: str, source: Source, text: str, merge: Merge = "sum", /, **labels: Values
) -> Metric:
    return Metric(name, "gauge", text, source, labels, merge=merge)


def _histogram(
    name: str,
    source: Source,
    text: str,
    buckets: tuple[float, ...],
    otel: str = "",
    /,
    **labels: Values,
) -> Metric:
    return Metric(name, "histogram", text, source, labels, buckets, otel=otel)


def _process(name: str, kind: Type, text: str) -> Metric:
    """A standard name of Prometheus client libraries, for the supervisor's own process."""
    return Metric(name, kind, text, "supervisor", prefix="")


# A table: the formatter would give each argument a line of its own.
# fmt: off
_SUPERVISOR = (
    _gauge("build_info", "supervisor", "1; the labels say what runs here.",
           version=OPEN, python=OPEN, implementation=OPEN),
    _gauge("supervisor_start_time_seconds", "supervisor", "Unix time of the supervisor's start."),
    _gauge("supervisor_state", "supervisor", "1 for the supervisor's present state, 0 for others.",
           state=("starting", "running", "reloading", "draining", "stopping")),
    _gauge("supervisor_up_workers_ratio", "supervisor", "Ready workers per wanted worker.",
           pool=FEW),
    _gauge("supervisor_loop_lag_seconds", "supervisor",
           "How late the supervisor's event loop ran its last timer."),
    _gauge("supervisor_restart_required", "supervisor",
           "1 if a setting changed that only a restart of the supervisor applies."),
    _gauge("system_load1", "supervisor", "Load average over one minute."),
    _gauge("system_load5", "supervisor", "Load average over five minutes."),
    _gauge("system_load15", "supervisor", "Load average over fifteen minutes."),
    _gauge("system_cpu_cores", "supervisor",
           "Cores this process may use, by affinity and cgroup quota."),
    _gauge("system_memory_available_bytes", "supervisor",
           "Memory that can still be taken, on the host or within the cgroup."),
    _gauge("system_memory_limit_bytes", "supervisor",
           "Memory there is at all, on the host or within the cgroup."),
    _gauge("data_disk_free_bytes", "supervisor",
           "Bytes that can still be written to the file system of the data directory."),
    _gauge("data_disk_size_bytes", "supervisor",
           "Size of the file system of the data directory."),
    _gauge("tls_certificate_expiry_timestamp_seconds", "supervisor",
           "Unix time after which a certificate that is served is no longer valid.",
           certificate=FEW),
    _process("process_cpu_seconds_total", "counter", "CPU time of the supervisor."),
    _process("process_resident_memory_bytes", "gauge", "Resident memory of the supervisor."),
    _process("process_virtual_memory_bytes", "gauge", "Virtual memory of the supervisor."),
    _process("process_start_time_seconds", "gauge", "Unix time of the supervisor's start."),
    _process("process_open_fds", "gauge", "Open file descriptors of the supervisor."),
)

_METRICS = (
    _histogram("metrics_scrape_duration_seconds", "supervisor",
               "Time to answer a scrape, the wait for the workers' last frames included.", FAST),
    _gauge("metrics_series", "supervisor", "Series on this page."),
    _counter("metrics_dropped_series_total", "supervisor",
             "Series refused: too many of one metric, a clash of types, or an unusable name.",
             metric=OPEN, reason=("limit", "clash", "name")),
    _counter("metrics_frames_total", "supervisor", "Frames of metrics received from workers.",
             outcome=("ok", "late", "bad")),
    _counter("metrics_collect_errors_total", "worker",
             "Walks of a worker's metrics cut short by an exception in a collector."),
)

_WORKERS = (
    _gauge("worker_processes", "supervisor", "Worker processes by state.",
           pool=FEW, state=("starting", "ready", "draining", "stuck")),
    _gauge("worker_processes_wanted", "supervisor", "Worker processes there should be.", pool=FEW),
    _counter("worker_starts_total", "supervisor", "Worker processes started, by reason.",
             pool=FEW, reason=_STARTS),
    _counter("worker_exits_total", "supervisor", "Worker processes ended, by reason.",
             pool=FEW, reason=_EXITS),
    _histogram("worker_boot_duration_seconds", "supervisor", "Time from start to ready.", FAST,
               pool=FEW),
    _gauge("worker_start_time_seconds", "supervisor", "Unix time of the worker's start.",
           pool=FEW, worker=FEW),
    _gauge("worker_resident_memory_bytes", "supervisor", "Resident memory of the worker.",
           pool=FEW, worker=FEW),
    _counter("worker_cpu_seconds_total", "supervisor",
             "CPU time of the slot, summed over its processes.", pool=FEW, worker=FEW),
    _gauge("worker_open_fds", "supervisor", "Open file descriptors of the worker.",
           pool=FEW, worker=FEW),
    _gauge("worker_threads", "supervisor", "Threads of the worker.", pool=FEW, worker=FEW),
    _gauge("worker_last_heartbeat_timestamp_seconds", "supervisor",
           "Unix time of the worker's last beat.", pool=FEW, worker=FEW),
    _gauge("worker_metrics_age_seconds", "supervisor", "Age of the worker's last frame.",
           pool=FEW, worker=FEW),
    _gauge("worker_event_loop_lag_seconds", "supervisor",
           "How late the process's event loop ran its last timer, by its last beat.",
           pool=FEW, worker=FEW),
    _per_worker("worker_requests_total", "web", "Requests answered, by slot.", pool=FEW,
                worker=FEW),
    _counter("worker_gc_collections_total", "worker", "Runs of Python's garbage collector.",
             pool=FEW, generation=("0", "1", "2")),
    _counter("worker_gc_seconds_total", "worker",
             "Time in Python's garbage collector, in which nothing else runs.", pool=FEW),
)

_HTTP = (
    _counter("http_requests_total", "web", "Requests answered.",
             method=METHODS, route=OPEN, status=FEW),
    _histogram("http_request_duration_seconds", "web",
               "Time from a request's head to the end of its answer.", FAST,
               "http_server_request_duration_seconds", method=METHODS, route=OPEN),
    Metric("http_requests_in_progress", "gauge", "Requests being answered now.", "web",
           {"pool": FEW}, otel="http_server_active_requests"),
    _counter("http_exceptions_total", "web", "Exceptions that no handler caught.", route=OPEN),
    _counter("http_refusals_total", "web",
             "Clients turned away before their request reached a plugin, by reason.",
             reason=_REFUSALS),
    _counter("http_trailers_dropped_total", "web",
             "Trailer fields of chunked requests, which no plugin gets."),
    _histogram("http_request_size_bytes", "web",
               "Bytes of a request's body that arrived before its answer was complete.", SIZES,
               "http_server_request_body_size_bytes", method=METHODS),
    _histogram("http_response_size_bytes", "web", "Bytes of an answer's body, compressed if it is.",
               SIZES, "http_server_response_body_size_bytes", method=METHODS),
    _counter("http_requests_aborted_total", "web",
             "Requests that ended without a whole answer: the client went away, was too slow for "
             "a limit, or the request outlasted the drain.",
             reason=("client", "timeout", "drain")),
    _gauge("http_connections", "web", "Open connections, busy with a request or idle.",
           state=("active", "idle")),
    _counter("http_connections_opened_total", "web",
             "Connections taken from the kernel: served, above the limit, or without a finished "
             "TLS handshake.", outcome=("accepted", "rejected", "tls_error")),
    _histogram("http_accept_queue_seconds", "web",
               "Time from the end of a connection's TCP handshake until a worker took it up, "
               "measured by the kernel in ticks of 1 to 10 ms. Not known with TLS, on unix "
               "sockets and outside of Linux; connections that the kernel refused are not seen.",
               LAG),
)

_WEBSOCKETS = (
    _gauge("websocket_connections", "web", "Open WebSockets.", route=OPEN),
    _counter("websocket_opens_total", "web", "WebSockets accepted.", route=OPEN),
    _counter("websocket_refusals_total", "web", "Handshakes that got no 101, by who refused them.",
             reason=("application", "invalid")),
    _counter("websocket_closes_total", "web", "WebSockets closed, by code; 1006 is without one.",
             route=OPEN, code=FEW),
    _histogram("websocket_connection_duration_seconds", "web",
               "Time from a WebSocket's acceptance to its end.", LONG, route=OPEN),
    _counter("websocket_messages_total", "web", "Messages of WebSockets.",
             route=OPEN, direction=("in", "out")),
    _counter("websocket_message_bytes_total", "web", "Bytes in messages of WebSockets.",
             route=OPEN, direction=("in", "out")),
    _counter("websocket_pushes_total", "web", "Messages pushed to WebSockets."),
    _gauge("websocket_send_queue_messages", "web",
           "Messages that wait in this process because their reader is slow.", route=OPEN),
)

_SOCKETS = (
    _gauge("socket_connections", "web", "Open TCP connections, by listener of a plugin.",
           listener=FEW),
    _counter("socket_opens_total", "web", "TCP connections accepted.", listener=FEW),
    _counter("socket_closes_total", "web",
             "TCP connections ended, by reason; `full` and `error` of packets too.",
             listener=FEW, reason=FEW),
    _counter("socket_frames_total", "web", "Frames and packets received.", listener=FEW),
    _counter("socket_bytes_total", "web", "Bytes received and sent, without those of TLS.",
             listener=FEW, direction=("in", "out")),
)

_TASKS = (
    _counter("tasks_enqueued_total", "worker", "Deliveries accepted by the engine.",
             task=OPEN, queue=OPEN),
    _absolute("tasks_total", "store", "Attempts that ended, by outcome.", task=OPEN, queue=OPEN,
              outcome=("success", "failure", "timeout", "cancelled", "rejected")),
    _gauge("tasks_queued", "store", "Deliveries ready to run.", queue=OPEN),
    _gauge("tasks_scheduled", "store", "Deliveries that wait for their time.", queue=OPEN),
    _gauge("task_dead_letters", "store", "Dead letters.", queue=OPEN),
    _gauge("task_oldest_queued_timestamp_seconds", "store",
           "Unix time at which the oldest ready delivery was put, 0 if none is ready.",
           queue=OPEN),
    _gauge("task_queue_capacity", "store",
           "How many deliveries may wait in the queue, 0 for any number.", queue=OPEN),
    _gauge("tasks_running", "task", "Attempts running now.", queue=OPEN),
    _histogram("task_wait_duration_seconds", "task",
               "Time from when a delivery might start to its start.", SLOW, queue=OPEN),
    _histogram("task_duration_seconds", "task", "Time an attempt ran.", SLOW, task=OPEN),
    _absolute("task_retries_total", "store", "Attempts to be made again.", task=OPEN,
              queue=OPEN),
    _counter("task_cut_offs_total", "task",
             "Attempts cut off because their worker had to go.", task=OPEN, queue=OPEN),
    _absolute("tasks_dead_total", "store", "Deliveries moved to the dead letters.",
              task=OPEN, queue=OPEN),
)

_STORE = (
    _histogram("store_turn_duration_seconds", "store",
               "Time of one transaction of the store, commit included.", LAG),
    _counter("store_requests_total", "store", "Requests carried out, many per transaction."),
    _gauge("store_disk_full", "store",
           "1 while the disk has no room and deliveries are refused, else 0."),
    _counter("store_corruptions_total", "store",
             "Damages to the file of the queue, mended or written to a new one."),
)

_EVENTS = (
    _counter("events_published_total", "worker", "Events fired.", event=OPEN),
    _absolute("event_deliveries_total", "store", "Events handled by a listener, by outcome.",
              event=OPEN, listener=OPEN, outcome=("success", "failure", "skipped")),
    _gauge("events_pending", "store", "Deliveries to listeners that have not ended."),
    _histogram("event_delivery_lag_seconds", "task",
               "Time from when an event was due to the first start of a listener.", SLOW,
               event=OPEN),
    _histogram("event_listener_duration_seconds", "task", "Time a listener ran.", SLOW,
               event=OPEN, listener=OPEN),
)

_CRONS = (
    _counter("cron_runs_total", "cron", "Runs that ended, by outcome.",
             cron=OPEN,
             outcome=("success", "failure", "timeout", "cancelled", "interrupted", "hung")),
    _counter("cron_misfires_total", "cron", "Due moments without a run of their own, by reason.",
             cron=OPEN, reason=("late", "overlap")),
    _histogram("cron_duration_seconds", "cron", "Time a run took.", SLOW, cron=OPEN),
    _histogram("cron_lag_seconds", "cron", "Time from the due moment to the start.", LAG,
               cron=OPEN),
    _gauge("cron_leader", "cron", "1 where the crons run.", "max"),
    _gauge("cron_running", "cron", "Runs going on now.", cron=OPEN),
    _gauge("cron_last_run_timestamp_seconds", "cron", "Unix time at which a run last ended.",
           "latest", cron=OPEN),
    _gauge("cron_last_success_timestamp_seconds", "cron",
           "Unix time at which a run last ended well.", "latest", cron=OPEN),
    _gauge("cron_next_run_timestamp_seconds", "cron", "Unix time of the next due moment.", "max",
           cron=OPEN),
    _gauge("cron_stopped", "cron", "1 for a cron that an operator has stopped.", "max", cron=OPEN),
    _counter("cron_hangs_total", "cron",
             "How often a cron blocked the timer until that was replaced; without a name if it was "
             "something else.", cron=OPEN),
    _counter("cron_clock_jumps_total", "cron", "Steps of the wall clock that the timer noticed."),
)

_CONFIG = (
    _gauge("config_info", "supervisor", "1; the labels name the release in force.",
           app=OPEN, cluster=OPEN, namespace=OPEN, release=OPEN),
    _gauge("config_last_applied_timestamp_seconds", "supervisor",
           "Unix time at which config was last applied."),
    _counter("config_applies_total", "supervisor", "Snapshots tried, by outcome.",
             outcome=("applied", "noop", "rejected", "rolled_back", "live")),
    _counter("config_validation_failures_total", "supervisor", "Releases refused, by check.",
             kind=("schema", "check_cmd", "limits", "collision", "denied", "malformed", "empty",
                   "shrunk")),
    _gauge("config_source", "supervisor", "1 for where the config in force came from, else 0.",
           source=("remote", "cache", "file", "none")),
    _gauge("config_quarantined", "supervisor",
           "1 if the newest configuration or code was refused or rolled back, or the newest "
           "release of a namespace."),
    _gauge("config_namespace_held", "supervisor",
           "1 if a namespace keeps an older release: its newest is missing, cannot be fetched or "
           "was refused.", namespace=OPEN),
    _gauge("config_namespace_applied_timestamp_seconds", "supervisor",
           "Unix time since which the release of a namespace is in force.", namespace=OPEN),
    _counter("config_keys_changed_total", "supervisor",
             "Keys whose value in force has changed, by kind.",
             kind=("added", "modified", "removed")),
    _counter("config_env_write_errors_total", "supervisor",
             "Configurations refused because .env or its archive could not be written."),
    _gauge("config_written_in_place", "supervisor",
           "1 if .env is a mount point and is written in place: a reader may see a part of it."),
    _gauge("config_keys", "supervisor", "Keys in force, by layer.", layer=OPEN),
    _histogram("config_propagation_seconds", "supervisor", "Time between two stages of a change.",
               REMOTE, stage=("notified_to_pulled", "pulled_to_written", "written_to_applied",
                              "notified_to_applied")),
    _gauge("config_last_pull_timestamp_seconds", "agent", "Unix time of the last pull.", "latest",
           namespace=OPEN, outcome=("success", "error")),
    _counter("config_pulls_total", "agent", "Pulls from the config server, by outcome.",
             namespace=OPEN, outcome=("changed", "unchanged", "error")),
    _counter("config_pull_errors_total", "agent", "Pulls that failed, by reason.",
             namespace=OPEN, reason=_PULL_ERRORS),
    _histogram("config_pull_duration_seconds", "agent", "Time a pull took.", REMOTE),
    _counter("config_notifications_total", "agent", "Changes that the config server announced.",
             namespace=OPEN),
    _gauge("config_long_poll_connected", "agent", "1 while a long poll is open."),
)

_RELOADS_AND_WATCH = (
    _counter("reloads_total", "supervisor", "Rollouts that ended, by reason and outcome.",
             reason=_RELOADS, outcome=("success", "failed", "rolled_back", "superseded", "noop")),
    _histogram("reload_duration_seconds", "supervisor",
               "Time from the request of a rollout to its commit or refusal.", REMOTE,
               reason=_RELOADS),
    _gauge("reload_in_progress", "supervisor", "1 while a rollout goes on."),
    _gauge("last_reload_timestamp_seconds", "supervisor", "Unix time of the last rollout's end."),
    _gauge("last_reload_success", "supervisor", "1 if the last rollout was committed, else 0."),
    _counter("reload_forced_kills_total", "supervisor",
             "Workers killed because they did not drain in time.", pool=FEW),
    _gauge("generation", "supervisor", "Number of the generation that serves."),
    _counter("watch_events_total", "agent", "Changes of files noticed, by kind.",
             kind=("config", "code", "ignored")),
    _gauge("watch_backend", "agent", "1 for how changes of files are noticed.",
           backend=("inotify", "polling")),
    _counter("watch_errors_total", "agent", "Failures to watch files, by reason.", reason=OPEN),
)

_TABLES = (
    _gauge("table_rows", "worker", "Rows of a shared table.", "max", table=FEW),
    _gauge("table_capacity_rows", "worker", "The most rows that a shared table may have.", "max",
           table=FEW),
    _gauge("table_memory_bytes", "worker", "What all shared tables take in their file.", "max"),
    _counter("table_operations_total", "worker",
             "Calls of shared tables, by outcome; a process that is killed loses its last second.",
             table=FEW, op=FEW, outcome=("success", "full", "error")),
)

_PROCESSES = (
    _gauge("process_state", "supervisor",
           "Slots of a custom process by state; what is done or has failed is not started again.",
           process=FEW, state=PROCESS_STATES),
    _counter("process_restarts_total", "supervisor",
             "Starts of a custom process in a slot whose worker had ended within the generation.",
             process=FEW),
    _counter("process_exits_total", "supervisor", "Ends of a custom process, by reason.",
             process=FEW, reason=_EXITS),
    _counter("process_messages_sent_total", "worker",
             "Messages to custom processes that the kernel has taken.",
             process=FEW, kind=_MESSAGES),
    _counter("process_messages_received_total", "worker",
             "Messages that custom processes have taken from their inbox.",
             process=FEW, kind=_MESSAGES),
    _counter("process_messages_refused_total", "worker",
             "Messages to custom processes that were not sent or not taken, or whose reply did not "
             "come, by reason.", process=FEW,
             reason=("busy", "down", "gone", "timeout", "failed", "invalid", "large", "malformed",
                     "abandoned", "error")),
    _histogram("process_request_duration_seconds", "worker",
               "Time from a request to a custom process to its reply.", LAG, process=FEW),
)
# fmt: on

CATALOGUE: tuple[Metric, ...] = (
    *_SUPERVISOR,
    *_METRICS,
    *_WORKERS,
    *_HTTP,
    *_WEBSOCKETS,
    *_SOCKETS,
    *_TASKS,
    *_STORE,
    *_EVENTS,
    *_CRONS,
    *_CONFIG,
    *_RELOADS_AND_WATCH,
    *_TABLES,
    *_PROCESSES,
)
# What labels are called in OpenTelemetry's conventions for HTTP.
OTEL_LABELS: Mapping[str, str] = {"method": "http_request_method", "route": "http_route"}
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in CATALOGUE}
BY_EXPOSED: Mapping[str, Metric] = {metric.exposed: metric for metric in CATALOGUE}
