"""The metrics of HTTP, counted directly: a telemetry point would cost more than all the rest."""

from collections.abc import Callable

from skep.metrics.instruments import InstrumentChildren, Instruments
from skep.metrics.loop_counters import LoopCounter, LoopHistogram
from skep.metrics.names import MAX_SERIES, METHODS

UNMATCHED = "__unmatched__"

Answer = tuple[LoopCounter, LoopHistogram]


class HttpMetrics:
    """Counts requests. Call it in the event loop only; `begin` and `end` come in pairs.

    `route` is the template (`/users/{id}`), UNMATCHED where no route matched, the prefix with `/*`
    for a mounted application; never the path. `connections` returns how many are open.
    """

    def __init__(self, instruments: Instruments, connections: Callable[[], int]) -> None:
        self._in_progress = 0
        self._answers = _Answers(
            instruments.children("http_requests_total"),
            instruments.children("http_request_duration_seconds"),
        )
        self._of_worker = instruments.child("worker_requests_total").inc
        self._exceptions = instruments.children("http_exceptions_total")
        gauges = {
            instruments.child("http_requests_in_progress"): lambda: self._in_progress,
            instruments.child("http_connections", state="active"): lambda: self._in_progress,
            instruments.child("http_connections", state="idle"): lambda: max(
                0, connections() - self._in_progress
            ),
        }
        for gauge, function in gauges.items():
            gauge.set_function(function)

    def begin(self) -> None:
        """Count a request whose head has arrived."""
        self._in_progress += 1

    def end(self, method: str, route: str, status: int, seconds: float, trace: str = "") -> None:
        """Count its answer, sent or abandoned; `trace` is the id of the trace it belongs to."""
        self._in_progress -= 1
        counter, histogram = self._answers[method, route, status]
        counter.inc()
        self._of_worker()
        histogram.observe(seconds, trace)

    def exception(self, route: str) -> None:
        """Count an exception that no handler caught."""
        self._exceptions[(route,)].inc()


class _Answers(dict[tuple[str, str, int], Answer]):
    """What to call for an answer, looked up once per method, route and status."""

    def __init__(self, requests: InstrumentChildren, durations: InstrumentChildren) -> None:
        super().__init__()
        self._requests = requests
        self._durations = durations

    def __missing__(self, key: tuple[str, str, int]) -> Answer:
        method, route, status = key
        known = method in METHODS
        labels = (method if known else "OTHER", route)
        answer = (self._requests[(*labels, str(status))], self._durations[labels])
        # The client invents methods: remembering all of them would be a leak.
        if known and len(self) < MAX_SERIES:
            self[key] = answer
        return answer
