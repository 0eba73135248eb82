"""The dashboard that is looked at first: is it well, and if not, where to look."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Row, board
from grafana.generator.panels import Panel, bars, board_url, lines, quantiles, rows, states, value

_ERRORS = """
(sum(rate(platform_http_requests_total{@,status=~"5.."}[@])) or vector(0))
  / clamp_min(sum(rate(platform_http_requests_total{@}[@])), 1e-9)
"""


def overview() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "overview",
        "Overview",
        "Whether the platform is well. Each number leads to the dashboard that explains it.",
        [
            Row("Now", [*_serving(), *_state()]),
            Row("Traffic", _traffic()),
            Row("Rollouts and configuration", _rollouts(), collapsed=True),
            Row("Machine and supervisor", _machine(), collapsed=True),
            Row("Versions and alerts", _versions(), collapsed=True),
        ],
    )


def _serving() -> list[Panel]:
    low = ((None, "red"), (0.5, "orange"), (1, "green"))
    return [
        value("Requests", "HTTP requests answered in a second, by all instances.", "reqps",
              ("sum(rate(platform_http_requests_total{@}[@]))", "requests"), to="http"),
        value("Errors", "The share of requests answered with 5xx.", "percentunit",
              (_ERRORS, "errors"), steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
              to="http"),
        value("p99", "99 of 100 requests are answered within this time.", "s",
              ("histogram_quantile(0.99, sum by (le) "
               "(rate(platform_http_request_duration_seconds_bucket{@}[@])))", "p99"),
              steps=((None, "green"), (1, "orange"), (2.5, "red")), to="http"),
        value("Ready workers", "Ready per wanted worker, of the kind with the fewest.",
              "percentunit", ("min(platform_supervisor_up_workers_ratio{@})", "ready"),
              steps=low, to="workers-rollouts"),
        value("Tasks waiting", "Deliveries that could run now.", "short",
              ("sum(max by (job, instance, queue) (platform_tasks_queued{@}))", "waiting"),
              to="tasks-events-crons"),
        value("Dead letters", "Deliveries that were given up, and that a person has to look at.",
              "short",
              ("sum(max by (job, instance, queue) (platform_task_dead_letters{@}))", "dead"),
              steps=((None, "green"), (1, "orange")), to="tasks-events-crons"),
    ]  # fmt: skip


def _state() -> list[Panel]:
    yes_is_bad = ((None, "green"), (1, "red"))
    return [
        value("Instances", "Platforms that answer Prometheus.", "short",
              ("count(platform_build_info{@})", "instances")),
        value("Last rollout", "How the last rollout ended, of the instance where it went worst.",
              "short", ("min(platform_last_reload_success{@})", "last"),
              steps=((None, "red"), (1, "green")), texts={0: "refused", 1: "committed"},
              to="workers-rollouts"),
        value("Newest release", "Whether the newest configuration or code is refused anywhere.",
              "short", ("max(platform_config_quarantined{@})", "newest"), steps=yes_is_bad,
              texts={0: "accepted", 1: "refused"}, to="config"),
        value("Free disk", "Free space where the data directory is, of the fullest instance.",
              "percentunit",
              ("min(platform_data_disk_free_bytes{@} / platform_data_disk_size_bytes{@})", "free"),
              steps=((None, "red"), (0.1, "orange"), (0.2, "green"))),
        value("Certificate", "How long the certificate that ends first is still valid.", "s",
              ("min(platform_tls_certificate_expiry_timestamp_seconds{@}) - time()", "valid"),
              steps=((None, "red"), (259200, "orange"), (1209600, "green"))),
        value("Firing alerts", "Alerts that fire for the chosen instances.", "short",
              ('count(ALERTS{@,alertstate="firing"}) or vector(0)', "firing"), steps=yes_is_bad),
    ]  # fmt: skip


def _traffic() -> list[Panel]:
    return [
        lines("Requests by status", "Answers in a second, by their status.", "reqps",
              ("sum by (status) (rate(platform_http_requests_total{@}[@]))", "{{status}}"),
              stacked=True),
        lines("Durations", "Time from a request's head to the end of its answer.", "s",
              *quantiles("platform_http_request_duration_seconds")),
        lines("Tasks", "Attempts that ended in a second, by outcome.", "ops",
              ("sum by (outcome) (rate(platform_tasks_total{@}[@]))", "{{outcome}}"),
              stacked=True),
    ]  # fmt: skip


def _rollouts() -> list[Panel]:
    shown = ((None, "transparent"), (1, "blue"))
    return [
        states("Supervisor", "What the supervisor of each instance is doing.",
               ("platform_supervisor_state{@}", "{{instance}} {{state}}"), steps=shown),
        rows("Configuration in force", "The release of each namespace, and since when.",
             ("", "", "platform_config_info{@}"),
             ("Since", "dateTimeAsIso",
              "platform_config_namespace_applied_timestamp_seconds{@} * on (job, instance, "
              "namespace) group_left (app, cluster, release) platform_config_info{@} * 1000"),
             hide=("__name__", "job"), width=16,
             link=("Since", "Open config", board_url("config"))),
    ]  # fmt: skip


def _machine() -> list[Panel]:
    return [
        lines("Load", "Processes that run or want to; above the number of cores they wait.",
              "short", ("platform_system_load1{@}", "{{instance}} 1 min"),
              ("platform_system_load5{@}", "{{instance}} 5 min"),
              ("platform_system_load15{@}", "{{instance}} 15 min"),
              ("platform_system_cpu_cores{@}", "{{instance}} cores")),
        lines("Memory", "Memory of the machine or the container.", "bytes",
              ("platform_system_memory_available_bytes{@}", "{{instance}} available"),
              ("platform_system_memory_limit_bytes{@}", "{{instance}} limit")),
        lines("Disk", "The file system that holds the data directory.", "bytes",
              ("platform_data_disk_free_bytes{@}", "{{instance}} free"),
              ("platform_data_disk_size_bytes{@}", "{{instance}} size")),
        lines("CPU of the supervisor", "Cores used by the supervisor, without its children.",
              "short", ("rate(process_cpu_seconds_total{@}[@])", "{{instance}}"), width=12),
        lines("Memory of the supervisor", "It should stay flat over any number of rollouts.",
              "bytes", ("process_resident_memory_bytes{@}", "{{instance}} resident"),
              ("process_virtual_memory_bytes{@}", "{{instance}} virtual"), width=12),
    ]  # fmt: skip


def _versions() -> list[Panel]:
    return [
        rows("Versions", "What runs where, and since when.",
             ("", "", "platform_build_info{@}"),
             ("Started", "dateTimeAsIso",
              "process_start_time_seconds{@} * on (job, instance) group_left (version, python, "
              "implementation) platform_build_info{@} * 1000"),
             hide=("__name__", "job"), width=8),
        bars("Up time", "Time since the supervisor was started.", "dtdurations",
             ("time() - platform_supervisor_start_time_seconds{@}", "{{instance}}"), width=4),
        rows("Alerts", "Alerts that fire, and since when something was wrong.",
             ("Since", "dateTimeAsIso",
              'ALERTS{@,alertstate="firing"} * ignoring (alertstate) ALERTS_FOR_STATE{@} * 1000'),
             hide=("job",), width=12),
    ]  # fmt: skip
