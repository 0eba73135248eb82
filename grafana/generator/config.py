"""The dashboard of configuration: from the config server to the workers."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Choice, Row, board
from grafana.generator.panels import Panel, lines, quantiles, rows, states, value

_NAMESPACE = 'namespace=~"$namespace"'


def config() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "config",
        "Configuration",
        "What is in force and since when, what was refused and why, and how fast a release comes.",
        [
            Row("In force", _in_force()),
            Row("Releases", _releases()),
            Row("Config server", _server()),
            Row("Files", _files(), collapsed=True),
        ],
        [Choice("namespace", "platform_config_info")],
    )


def _in_force() -> list[Panel]:
    bad = ((None, "green"), (1, "red"))
    return [
        value("Newest release", "Whether the newest configuration or code is refused anywhere.",
              "short", ("max(platform_config_quarantined{@})", "newest"), steps=bad,
              texts={0: "accepted", 1: "refused"}),
        value("Namespaces held", "Namespaces that keep an older release than the newest.",
              "short", (f"sum(platform_config_namespace_held{{@,{_NAMESPACE}}}) or vector(0)",
                        "held"),
              steps=bad),
        value("Long poll", "Whether every instance is connected to the config server.", "short",
              ("min(platform_config_long_poll_connected{@})", "connected"),
              steps=((None, "red"), (1, "green")), texts={0: "broken", 1: "open"}),
        value("Last applied", "Time since a configuration was applied anywhere.", "dtdurations",
              ("time() - max(platform_config_last_applied_timestamp_seconds{@})", "since")),
        value("Writes of .env that failed", "In the chosen time.", "short",
              ("sum(increase(platform_config_env_write_errors_total{@}[$__range]))", "failed"),
              steps=bad),
        value(".env written in place", "Instances whose .env is a mount point: a reader may see "
              "a part of it.", "short", ("sum(platform_config_written_in_place{@})", "in place"),
              steps=((None, "green"), (1, "orange"))),
        rows("Releases in force", "The release of each namespace, and since when.",
             ("", "", f"platform_config_info{{@,{_NAMESPACE}}}"),
             ("Since", "dateTimeAsIso",
              f"platform_config_namespace_applied_timestamp_seconds{{@,{_NAMESPACE}}} * on (job, "
              "instance, namespace) group_left (app, cluster, release) "
              "platform_config_info{@} * 1000"),
             hide=("__name__", "job"), width=16),
        states("Source", "Where the configuration in force came from.",
               ("platform_config_source{@}", "{{instance}} {{source}}"),
               steps=((None, "transparent"), (1, "blue"))),
    ]  # fmt: skip


def _releases() -> list[Panel]:
    return [
        lines("Age", "How long the release of a namespace has been in force.", "s",
              ("time() - max by (instance, namespace) "
               f"(platform_config_namespace_applied_timestamp_seconds{{@,{_NAMESPACE}}})",
               "{{instance}} {{namespace}}"), width=6),
        lines("Tried", "Configurations tried in the interval, by outcome.", "short",
              ("sum by (outcome) (increase(platform_config_applies_total{@}[@]))",
               "{{outcome}}"), width=6),
        lines("Refused", "Releases refused in the interval, by the check that refused them.",
              "short",
              ("sum by (kind) (increase(platform_config_validation_failures_total{@}[@]))",
               "{{kind}}"), width=6),
        lines("Propagation", "From the notification of a release to its last worker, by stage.",
              "s", *quantiles("platform_config_propagation_seconds", "stage", of=(0.5, 0.95)),
              width=6),
        lines("Keys", "Keys in force, by layer.", "short",
              ("sum by (layer) (platform_config_keys{@})", "{{layer}}"), width=12),
        lines("Changed keys", "Keys that differ from the configuration before, in the interval.",
              "short",
              ("sum by (kind) (increase(platform_config_keys_changed_total{@}[@]))", "{{kind}}"),
              width=12),
    ]  # fmt: skip


def _server() -> list[Panel]:
    return [
        lines("Pulls", "Pulls in a second, by outcome.", "ops",
              ("sum by (outcome) "
               f"(rate(platform_config_pulls_total{{@,{_NAMESPACE}}}[@]))", "{{outcome}}"),
              width=6),
        lines("Failed pulls", "Pulls in a second that failed, by reason.", "ops",
              ("sum by (reason) "
               f"(rate(platform_config_pull_errors_total{{@,{_NAMESPACE}}}[@]))", "{{reason}}"),
              width=6),
        lines("Duration of a pull", "Time a pull took.", "s",
              *quantiles("platform_config_pull_duration_seconds", of=(0.5, 0.95)), width=6),
        lines("Since the last good pull", "It should stay below the time between two pulls.", "s",
              ("time() - max by (instance, namespace) (platform_config_last_pull_timestamp_"
               f'seconds{{@,{_NAMESPACE},outcome="success"}})', "{{instance}} {{namespace}}"),
              width=6),
        lines("Notifications", "Changes in a second that the config server announced.", "ops",
              ("sum by (namespace) "
               f"(rate(platform_config_notifications_total{{@,{_NAMESPACE}}}[@]))",
               "{{namespace}}"), width=12),
        states("Connected", "Whether a long poll is open.",
               ("platform_config_long_poll_connected{@}", "{{instance}}"),
               steps=((None, "red"), (1, "green")), width=12),
    ]  # fmt: skip


def _files() -> list[Panel]:
    return [
        lines("Changes of files", "Changes noticed in a second, by kind.", "ops",
              ("sum by (kind) (rate(platform_watch_events_total{@}[@]))", "{{kind}}")),
        lines("Failures to watch", "Failures in a second, by reason.", "ops",
              ("sum by (reason) (rate(platform_watch_errors_total{@}[@])) "
               'or label_replace(0 * sum(platform_watch_backend{@}), "reason", "none", "", "")',
               "{{reason}}")),
        states("Backend", "How files are watched: polling takes longer and more CPU.",
               ("platform_watch_backend{@}", "{{instance}} {{backend}}"),
               steps=((None, "transparent"), (1, "blue"))),
    ]  # fmt: skip
