"""The dashboard of what runs behind requests: tasks, events and crons."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Choice, Row, board
from grafana.generator.panels import Panel, lines, quantiles, rows, states

_QUEUE = 'queue=~"$queue"'


def tasks_events_crons() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "tasks-events-crons",
        "Tasks, events and crons",
        "Queues, attempts, listeners and runs by the clock, and the store that keeps them.",
        [
            Row("Queues", _queues()),
            Row("Tasks", _tasks()),
            Row("Events", _events(), collapsed=True),
            Row("Crons", _crons(), collapsed=True),
            Row("Store", _store(), collapsed=True),
        ],
        [Choice("queue", "platform_tasks_enqueued_total")],
    )


def _queues() -> list[Panel]:
    of_queue = f"by (queue) (max by (job, instance, queue) (%s{{@,{_QUEUE}}}))"
    return [
        lines("Waiting", "Deliveries that could run now, and those whose time has not come.",
              "short", (f"sum {of_queue % 'platform_tasks_queued'}", "{{queue}} ready"),
              (f"sum {of_queue % 'platform_tasks_scheduled'}", "{{queue}} later")),
        lines("Share of the limit", "Waiting deliveries per allowed one; only queues with a limit.",
              "percentunit",
              (f"platform_tasks_queued{{@,{_QUEUE}}} "
               f"/ (platform_task_queue_capacity{{@,{_QUEUE}}} > 0)", "{{instance}} {{queue}}"),
              most=1),
        lines("Age of the oldest", "How long the oldest ready delivery has waited.", "s",
              (f"(time() - (platform_task_oldest_queued_timestamp_seconds{{@,{_QUEUE}}} > 0)) "
               f"or 0 * platform_task_oldest_queued_timestamp_seconds{{@,{_QUEUE}}}",
               "{{instance}} {{queue}}")),
        lines("Put and ended", "Deliveries accepted, and attempts ended, in a second.", "ops",
              (f"sum by (queue) (rate(platform_tasks_enqueued_total{{@,{_QUEUE}}}[@]))",
               "{{queue}} put"),
              (f"sum by (queue) (rate(platform_tasks_total{{@,{_QUEUE}}}[@]))",
               "{{queue}} ended")),
        lines("Wait", "Time from when a delivery might start to its start.", "s",
              *quantiles("platform_task_wait_duration_seconds", "queue", of=(0.5, 0.95))),
        lines("Running", "Attempts that run now, and the task workers that are ready.", "short",
              (f"sum by (queue) (platform_tasks_running{{@,{_QUEUE}}})", "{{queue}} running"),
              ('sum(platform_worker_processes{@,pool=~"task.*",state="ready"})',
               "task workers")),
    ]  # fmt: skip


def _tasks() -> list[Panel]:
    ended = f"sum by (task) (rate(platform_tasks_total{{@,{_QUEUE}}}[@]))"
    failed = 'sum by (task) (rate(platform_tasks_total{@,outcome!="success",queue=~"$queue"}[@]))'
    retried = f"sum by (task) (rate(platform_task_retries_total{{@,{_QUEUE}}}[@]))"
    return [
        lines("Outcomes", "Attempts that ended in a second.", "ops",
              (f"sum by (outcome) (rate(platform_tasks_total{{@,{_QUEUE}}}[@]))",
               "{{outcome}}"), stacked=True),
        lines("Duration by task", "95 of 100 attempts took at most this time.", "s",
              *quantiles("platform_task_duration_seconds", "task", of=(0.95,))),
        lines("Dead letters", "Deliveries that were given up, and those given up in a second.",
              "short",
              (f"sum {'by (queue)'} (max by (job, instance, queue) "
               f"(platform_task_dead_letters{{@,{_QUEUE}}}))", "{{queue}} kept"),
              (f"sum by (task) (rate(platform_tasks_dead_total{{@,{_QUEUE}}}[@]))",
               "{{task}} in a second")),
        rows("Tasks", "Rates are in a second.",
             ("Attempts", "ops", ended),
             ("Not successful", "percentunit",
              f"({failed} or 0 * {ended}) / clamp_min({ended}, 1e-9)"),
             ("Retries", "ops", retried),
             ("Mean duration", "s",
              "sum by (task) (rate(platform_task_duration_seconds_sum{@}[@])) "
              "/ sum by (task) (rate(platform_task_duration_seconds_count{@}[@]))"),
             width=16),
        lines("Cut off", "Attempts in a second cut off because their worker had to go.", "ops",
              (f"sum by (queue) (rate(platform_task_cut_offs_total{{@,{_QUEUE}}}[@]))",
               "{{queue}}")),
    ]  # fmt: skip


def _events() -> list[Panel]:
    return [
        lines("Fired", "Events fired in a second, and deliveries to listeners that wait.",
              "short", ("sum by (event) (rate(platform_events_published_total{@}[@]))",
                        "{{event}}"),
              ("sum(max by (job, instance) (platform_events_pending{@}))", "waiting")),
        lines("Handled", "Ends of listeners in a second.", "ops",
              ("sum by (event, listener, outcome) "
               "(rate(platform_event_deliveries_total{@}[@]))",
               "{{listener}} {{outcome}}")),
        lines("Duration of listeners", "95 of 100 took at most this time.", "s",
              *quantiles("platform_event_listener_duration_seconds", "listener", of=(0.95,)),
              width=4),
        lines("Lag of listeners", "From the event to the start of its listener.", "s",
              *quantiles("platform_event_delivery_lag_seconds", "event", of=(0.95,)), width=4),
    ]  # fmt: skip


def _crons() -> list[Panel]:
    return [
        lines("Runs", "Runs that ended in a second.", "ops",
              ("sum by (cron, outcome) (rate(platform_cron_runs_total{@}[@])) > 0 "
               "or sum by (cron) (0 * rate(platform_cron_runs_total{@}[@]))",
               "{{cron}} {{outcome}}"), width=6),
        lines("Misfires", "Due moments in a second without a run of their own, crons that blocked "
              "the timer, and steps of the clock.", "ops",
              ("sum by (cron, reason) (rate(platform_cron_misfires_total{@}[@]))",
               "{{cron}} {{reason}}"),
              ("sum by (cron) (rate(platform_cron_hangs_total{@}[@]))", "{{cron}} hung"),
              ("sum by (instance) (rate(platform_cron_clock_jumps_total{@}[@]))",
               "{{instance}} clock steps"), width=6),
        lines("Duration of runs", "95 of 100 runs took at most this time.", "s",
              *quantiles("platform_cron_duration_seconds", "cron", of=(0.95,)), width=6),
        lines("Lag of runs", "From the due moment to the start.", "s",
              *quantiles("platform_cron_lag_seconds", "cron", of=(0.95,)), width=6),
        rows("Crons", "When each ran, and when it is due.",
             ("Last end", "dateTimeFromNow",
              "max by (instance, cron) (platform_cron_last_run_timestamp_seconds{@}) * 1000"),
             ("Last success", "dateTimeFromNow",
              "max by (instance, cron) (platform_cron_last_success_timestamp_seconds{@}) * 1000"),
             ("Next", "dateTimeFromNow",
              "max by (instance, cron) (platform_cron_next_run_timestamp_seconds{@}) * 1000"),
             ("Running", "short", "sum by (instance, cron) (platform_cron_running{@})"),
             ("Stopped", "short", "max by (instance, cron) (platform_cron_stopped{@})"),
             width=18),
        states("Leader", "Where crons run.", ("platform_cron_leader{@}", "{{instance}}"),
               steps=((None, "transparent"), (1, "green")), width=6),
    ]  # fmt: skip


def _store() -> list[Panel]:
    return [
        lines("Transactions", "Time of one transaction of the store, commit included.", "s",
              *quantiles("platform_store_turn_duration_seconds", of=(0.5, 0.99))),
        lines("Requests", "Requests to the store carried out in a second.", "ops",
              ("sum by (instance) (rate(platform_store_requests_total{@}[@]))",
               "{{instance}}")),
        lines("Trouble", "Whether the disk has no room, and damages found in the file.", "short",
              ("platform_store_disk_full{@}", "{{instance}} disk full"),
              ("sum by (instance) (increase(platform_store_corruptions_total{@}[@]))",
               "{{instance}} damages")),
    ]  # fmt: skip
