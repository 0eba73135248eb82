"""`platform dashboards …`: what Grafana and Prometheus load."""

from skep.cli.verbs import Verbs

_VERBS = {
    "export": ("export", "Write dashboards, alert rules and the files that load them."),
}

dashboards = Verbs(
    "skep.cli.dashboards",
    _VERBS,
    name="dashboards",
    help="Write dashboards and alert rules for Grafana and Prometheus.",
)
