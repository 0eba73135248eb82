"""The metrics of HTTP, counted directly: a telemetry point would cost more than all the rest."""

from collections.abc import Callable

from skep.metrics.instruments import Instruments
from skep.metrics.loop_counters import LoopCounter, LoopHistogram
from skep.metrics.names import MAX_SERIES, METHODS

UNMATCHED = "__unmatched__"

# What counts an answer: by status; its time; the bytes received and sent.
Answer = tuple[LoopCounter, LoopHistogram, LoopHistogram, LoopHistogram]


class HttpMetrics:
    """Counts requests. Call it in the event loop only; `begin` and `end` come in pairs.

    `route` is the template (`/users/{id}`), UNMATCHED where no route matched, the prefix with `/*`
    for a mounted application; never the path. `connections` returns how many are open.
    """

    def __init__(self, instruments: Instruments, connections: Callable[[], int]) -> None:
        self._in_progress = 0
        self._answers = _Answers(instruments)
        self._of_worker = instruments.child("worker_requests_total").inc
        self._exceptions = instruments.children("http_exceptions_total")
        self._aborted = instruments.children("http_requests_aborted_total")
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

    def end(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        received: int = 0,
        sent: int = 0,
        trace: str = "",
    ) -> None:
        """Count its answer, sent or abandoned, and the bytes of both bodies; `trace` is the id of
        the trace it belongs to."""
        self._in_progress -= 1
        counter, duration, request, response = self._answers[method, route, status]
        counter.inc()
        self._of_worker()
        duration.observe(seconds, trace)
        request.observe(received)
        response.observe(sent)

    def exception(self, route: str) -> None:
        """Count an exception that no handler caught."""
        self._exceptions[(route,)].inc()

    def aborted(self, reason: str) -> None:
        """Count a request that ended without a whole answer: `client`, `timeout` or `drain`."""
        self._aborted[(reason,)].inc()


class ConnectionMetrics:
    """Counts the connections that a worker takes from the kernel."""

    def __init__(self, instruments: Instruments) -> None:
        outcomes = instruments.children("http_connections_opened_total")
        self.accepted: Callable[[], None] = outcomes[("accepted",)].inc
        self.rejected: Callable[[], None] = outcomes[("rejected",)].inc
        self.tls_error: Callable[[], None] = outcomes[("tls_error",)].inc
        self.queued: Callable[[float], None]
        self.queued = instruments.child("http_accept_queue_seconds").observe
        self._aborted = instruments.children("http_requests_aborted_total")

    def aborted(self, reason: str) -> None:
        """Count a request whose answer was complete here, and not with the client."""
        self._aborted[(reason,)].inc()


class _Answers(dict[tuple[str, str, int], Answer]):
    """What to call for an answer, looked up once per method, route and status."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__()
        self._requests = instruments.children("http_requests_total")
        self._durations = instruments.children("http_request_duration_seconds")
        self._received = instruments.children("http_request_size_bytes")
        self._sent = instruments.children("http_response_size_bytes")

    def __missing__(self, key: tuple[str, str, int]) -> Answer:
        method, route, status = key
        known = method in METHODS
        method = method if known else "OTHER"
        answer = (
            self._requests[method, route, str(status)],
            self._durations[method, route],
            self._received[(method,)],
            self._sent[(method,)],
        )
        # The client invents methods: remembering all of them would be a leak.
        if known and len(self) < MAX_SERIES:
            self[key] = answer
        return answer
