"""The dashboard of HTTP: rate, errors, duration, connections, sizes."""

from grafana_foundation_sdk.models import dashboard as models

from grafana.generator.board import Choice, Row, board
from grafana.generator.panels import Panel, bars, board_url, heat, lines, quantiles, rows

_ROUTE = 'route=~"$route"'
_BY = "by (method, route)"
_RATE = f"sum {_BY} (rate(platform_http_requests_total{{@,{_ROUTE}}}[@]))"
_FAILED = f'sum {_BY} (rate(platform_http_requests_total{{@,{_ROUTE},status=~"5.."}}[@]))'
_SPENT = f"sum {_BY} (rate(platform_http_request_duration_seconds_sum{{@,{_ROUTE}}}[@]))"
_ENDED = f"sum {_BY} (rate(platform_http_request_duration_seconds_count{{@,{_ROUTE}}}[@]))"
_P95 = (
    "histogram_quantile(0.95, sum by (le, method, route) "
    f"(rate(platform_http_request_duration_seconds_bucket{{@,{_ROUTE}}}[@])))"
)
_GROWN = f"sum {_BY} (increase(platform_http_requests_total{{@,{_ROUTE}}}[$__range]))"
_NAME = "{{method}} {{route}}"


def http() -> models.Dashboard:
    """Return the dashboard."""
    return board(
        "http",
        "HTTP",
        "Requests by route and status, how long they take, and what became of connections.",
        [
            Row("Rate and errors", _rate()),
            Row("Duration", _duration()),
            Row("Counts in the chosen time", _counts(), collapsed=True),
            Row("Connections and sizes", _connections(), collapsed=True),
            Row("Requests without a whole answer", _without_answer(), collapsed=True),
        ],
        [Choice("route", "platform_http_requests_total")],
    )


def _rate() -> list[Panel]:
    return [
        lines("Requests", "Requests in a second, and clients turned away before a route.",
              "reqps",
              ("sum by (method) (rate(platform_http_requests_total{@}[@]))", "{{method}}"),
              ("sum(rate(platform_http_requests_total{@}[@]))", "all"),
              ("sum(rate(platform_http_refusals_total{@}[@]))", "turned away")),
        lines("Requests by route", "Requests in a second.", "reqps", (_RATE, _NAME)),
        lines("Requests by status", "Answers in a second, by their status.", "reqps",
              ("sum by (status) "
               f"(rate(platform_http_requests_total{{@,{_ROUTE}}}[@]))", "{{status}}"),
              stacked=True),
        lines("5xx by route", "Answers with 5xx in a second.", "reqps",
              (f"{_FAILED} or 0 * {_RATE}", _NAME)),
        lines("Share of 5xx by route", "Answers with 5xx per answer.", "percentunit",
              (f"({_FAILED} or 0 * {_RATE}) / clamp_min({_RATE}, 1e-9)", _NAME), most=1),
        rows("Routes", "The twenty busiest routes.",
             ("Requests", "reqps", f"topk(20, {_RATE})"),
             ("5xx", "percentunit",
              f"({_FAILED} or 0 * {_RATE}) / clamp_min({_RATE}, 1e-9)"),
             ("Mean", "s", f"{_SPENT} / {_ENDED}"),
             ("p95", "s", _P95),
             width=8,
             link=("Requests", "Only this route",
                   board_url("http", "&var-route=${__data.fields.route}"))),
    ]  # fmt: skip


def _duration() -> list[Panel]:
    return [
        lines("Durations", "Time from a request's head to the end of its answer.", "s",
              *quantiles("platform_http_request_duration_seconds"), width=6, exemplars=True),
        lines("p95 by route", "95 of 100 requests are answered within this time.", "s",
              (_P95, _NAME), width=6),
        lines("Mean by route", "The mean duration of requests.", "s",
              (f"{_SPENT} / {_ENDED}", _NAME), width=6),
        heat("Where durations lie", "Requests in a second, by how long they took.", "s",
             "platform_http_request_duration_seconds", width=6),
    ]  # fmt: skip


def _counts() -> list[Panel]:
    return [
        bars("Most requested", "The ten routes with the most requests.", "short",
             (f"topk(10, {_GROWN})", _NAME)),
        bars("Requests by instance", "Requests answered by each instance.", "short",
             ("sum by (instance) (increase(platform_http_requests_total{@}[$__range]))",
              "{{instance}}")),
        bars("Least requested", "The ten routes with the fewest requests.", "short",
             (f"bottomk(10, {_GROWN})", _NAME)),
    ]  # fmt: skip


def _connections() -> list[Panel]:
    return [
        lines("Open connections", "Connections busy with a request, and idle ones.", "short",
              ("sum by (state) (platform_http_connections{@})", "{{state}}"), stacked=True,
              width=6),
        lines("New connections", "Connections in a second, by what became of them.", "cps",
              ("sum by (outcome) (rate(platform_http_connections_opened_total{@}[@]))",
               "{{outcome}}"),
              width=6),
        lines("Wait in the accept queue", "Time until a worker took a new connection.", "s",
              *quantiles("platform_http_accept_queue_seconds"), width=6),
        lines("Requests in progress", "Requests being answered now.", "short",
              ("sum by (instance, pool) (platform_http_requests_in_progress{@})",
               "{{instance}} {{pool}}"), width=6),
        lines("Received", "Bytes of request bodies in a second.", "Bps",
              ("sum by (method) (rate(platform_http_request_size_bytes_sum{@}[@]))",
               "{{method}}"), width=6),
        lines("Sent", "Bytes of answers' bodies in a second.", "Bps",
              ("sum by (method) (rate(platform_http_response_size_bytes_sum{@}[@]))",
               "{{method}}"), width=6),
        lines("Size of requests", "Bytes of a request's body.", "bytes",
              *quantiles("platform_http_request_size_bytes", of=(0.5, 0.95)), width=6),
        lines("Size of answers", "Bytes of an answer's body.", "bytes",
              *quantiles("platform_http_response_size_bytes", of=(0.5, 0.95)), width=6),
    ]  # fmt: skip


def _without_answer() -> list[Panel]:
    return [
        lines("Exceptions", "Exceptions in a second that no handler caught, by route.", "ops",
              (f"sum by (route) (rate(platform_http_exceptions_total{{@,{_ROUTE}}}[@]))",
               "{{route}}"), width=6),
        lines("Turned away", "Clients in a second that were turned away before a route.", "ops",
              ("sum by (reason) (rate(platform_http_refusals_total{@}[@]))", "{{reason}}"),
              width=6),
        lines("Aborted", "Requests in a second that ended without a whole answer.", "ops",
              ("sum by (reason) (rate(platform_http_requests_aborted_total{@}[@]))",
               "{{reason}}"), width=6),
        lines("Trailers dropped", "Trailer fields in a second, which no plugin gets.", "ops",
              ("sum by (instance) (rate(platform_http_trailers_dropped_total{@}[@]))",
               "{{instance}}"), width=6),
    ]  # fmt: skip
