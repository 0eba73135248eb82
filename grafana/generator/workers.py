"""The dashboard of workers and rollouts."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Choice, Row, board
from grafana.generator.panels import Panel, bars, lines, quantiles, rows, states

_POOL = 'pool=~"$pool"'
_BY = "by (instance, pool, worker)"
_SLOT = "{{instance}} {{worker}}"


def workers_and_rollouts() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "workers-rollouts",
        "Workers and rollouts",
        "Worker processes, what they use, and how generations replace each other.",
        [
            Row("Workers", _workers()),
            Row("Rollouts", _rollouts()),
            Row("What workers use", _use(), collapsed=True),
            Row("Collection of metrics", _metrics(), collapsed=True),
        ],
        [Choice("pool", "platform_worker_processes_wanted")],
    )


def _workers() -> list[Panel]:
    return [
        lines("Ready and wanted", "Worker processes, and how many there should be.", "short",
              (f'sum by (pool) (platform_worker_processes{{@,{_POOL},state="ready"}})',
               "{{pool}} ready"),
              (f"sum by (pool) (platform_worker_processes_wanted{{@,{_POOL}}})",
               "{{pool}} wanted")),
        lines("Starts", "Workers started in a second, by reason.", "ops",
              (f"sum by (pool, reason) (rate(platform_worker_starts_total{{@,{_POOL}}}[@])) > 0 "
               f"or sum by (pool) (0 * rate(platform_worker_starts_total{{@,{_POOL}}}[@]))",
               "{{pool}} {{reason}}")),
        lines("Ends", "Workers that ended in a second, by reason.", "ops",
              (f"sum by (pool, reason) (rate(platform_worker_exits_total{{@,{_POOL}}}[@])) > 0 "
               f"or sum by (pool) (0 * rate(platform_worker_exits_total{{@,{_POOL}}}[@]))",
               "{{pool}} {{reason}}")),
        rows("Workers", "Every slot, what its process uses, and when it was heard last.",
             ("Up", "dtdurations",
              f"time() - max {_BY} (platform_worker_start_time_seconds{{@,{_POOL}}})"),
             ("Memory", "bytes",
              f"sum {_BY} (platform_worker_resident_memory_bytes{{@,{_POOL}}})"),
             ("CPU", "percentunit",
              f"sum {_BY} (rate(platform_worker_cpu_seconds_total{{@,{_POOL}}}[@]))"),
             ("Descriptors", "short", f"sum {_BY} (platform_worker_open_fds{{@,{_POOL}}})"),
             ("Threads", "short", f"sum {_BY} (platform_worker_threads{{@,{_POOL}}})"),
             ("Loop lag", "s", f"max {_BY} (platform_worker_event_loop_lag_seconds{{@,{_POOL}}})"),
             ("Last beat", "s", "time() - max by (instance, pool, worker) "
              f"(platform_worker_last_heartbeat_timestamp_seconds{{@,{_POOL}}})"),
             ("Last frame", "s", f"max {_BY} (platform_worker_metrics_age_seconds{{@,{_POOL}}})"),
             height=9),
    ]  # fmt: skip


def _rollouts() -> list[Panel]:
    shown = ((None, "transparent"), (1, "blue"))
    return [
        lines("Rollouts", "Rollouts that ended in the interval, by reason and outcome.", "short",
              ("sum by (reason, outcome) (increase(platform_reloads_total{@}[@])) > 0 "
               "or label_replace(0 * sum(increase(platform_reloads_total{@}[@])), "
               '"outcome", "none", "", "")',
               "{{reason}} {{outcome}}")),
        lines("Duration of rollouts", "From the request of a rollout to its commit or refusal.",
              "s", *quantiles("platform_reload_duration_seconds", of=(0.5, 0.95))),
        lines("Boot", "From the start of a worker to ready.", "s",
              *quantiles("platform_worker_boot_duration_seconds", "pool", of=(0.5, 0.95))),
        states("In progress", "Whether a rollout goes on; whether the last one was refused; "
               "whether a setting waits for a restart of the supervisor.",
               ("platform_reload_in_progress{@}", "{{instance}} rollout"),
               ("1 - platform_last_reload_success{@}", "{{instance}} last one refused"),
               ("platform_supervisor_restart_required{@}", "{{instance}} restart required"),
               steps=shown),
        lines("Generation", "The number of the generation that serves.", "short",
              ("platform_generation{@}", "{{instance}}"), width=4),
        bars("Since the last rollout", "Time since a rollout ended, however it ended.",
             "dtdurations",
             ("time() - (platform_last_reload_timestamp_seconds{@} > 0)", "{{instance}}"),
             width=4),
        lines("Killed in a drain", "Workers in a second that did not drain in time.", "ops",
              ("sum by (pool) (rate(platform_reload_forced_kills_total{@}[@]))", "{{pool}}")),
    ]  # fmt: skip


def _use() -> list[Panel]:
    return [
        lines("Memory by kind", "Resident memory of all workers of a kind; pages that forked "
              "workers share are counted for each.", "bytes",
              (f"sum by (instance, pool) (platform_worker_resident_memory_bytes{{@,{_POOL}}})",
               "{{instance}} {{pool}}"), width=6),
        lines("Memory by worker", "Resident memory.", "bytes",
              (f"platform_worker_resident_memory_bytes{{@,{_POOL}}}", _SLOT), width=6),
        lines("CPU by worker", "Cores used.", "short",
              (f"rate(platform_worker_cpu_seconds_total{{@,{_POOL}}}[@])", _SLOT), width=6),
        lines("Requests by worker", "How evenly connections are spread.", "reqps",
              (f"sum {_BY} (rate(platform_worker_requests_total{{@,{_POOL}}}[@]))", _SLOT),
              width=6),
        lines("Loop lag", "How late an event loop ran its last timer.", "s",
              (f"platform_worker_event_loop_lag_seconds{{@,{_POOL}}}", _SLOT),
              ("platform_supervisor_loop_lag_seconds{@}", "{{instance}} supervisor"), width=6),
        lines("Descriptors and threads", "Of all workers of a kind, and of the supervisor.",
              "short",
              (f"sum by (pool) (platform_worker_open_fds{{@,{_POOL}}})", "{{pool}} descriptors"),
              (f"sum by (pool) (platform_worker_threads{{@,{_POOL}}})", "{{pool}} threads"),
              ("process_open_fds{@}", "{{instance}} supervisor descriptors"), width=6),
        lines("Garbage collections by kind", "Runs of Python's garbage collector in a second, by "
              "its generation.", "ops",
              ("sum by (pool, generation) "
               f"(rate(platform_worker_gc_collections_total{{@,{_POOL}}}[@]))",
               "{{pool}} generation {{generation}}"), width=6),
        lines("Time spent collecting garbage", "Seconds in a second, by kind of worker.",
              "percentunit",
              (f"sum by (pool) (rate(platform_worker_gc_seconds_total{{@,{_POOL}}}[@]))",
               "{{pool}}"), width=6),
    ]  # fmt: skip


def _metrics() -> list[Panel]:
    return [
        lines("Duration of a scrape", "Time to answer Prometheus.", "s",
              *quantiles("platform_metrics_scrape_duration_seconds", of=(0.5, 0.99))),
        lines("Series", "Series on /metrics, and those refused in a second.", "short",
              ("platform_metrics_series{@}", "{{instance}}"),
              ("sum by (metric, reason) (rate(platform_metrics_dropped_series_total{@}[@]))",
               "refused: {{metric}} {{reason}}")),
        lines("Frames", "Frames of metrics received in a second, and walks cut short.", "ops",
              ("sum by (outcome) (rate(platform_metrics_frames_total{@}[@]))", "{{outcome}}"),
              ("sum by (instance) (rate(platform_metrics_collect_errors_total{@}[@]))",
               "{{instance}} cut short")),
    ]  # fmt: skip
