import pytest
from prometheus_client import CollectorRegistry

from skep.metrics.instruments import Instruments
from skep.metrics.names import MAX_SERIES, OTHER
from skep.metrics.web import UNMATCHED, HttpMetrics


class Site:
    """A web worker's metrics, with so many open connections."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.open = 0
        self.metrics = HttpMetrics(Instruments(self.registry, "web"), lambda: self.open)

    def serve(self, method: str, route: str, status: int = 200, seconds: float = 0.01) -> None:
        self.metrics.begin()
        self.metrics.end(method, route, status, seconds)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"platform_{name}", labels)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_request_is_counted_timed_and_seen_while_it_lasts(site: Site) -> None:
    site.metrics.begin()
    assert site.value("http_requests_in_progress", pool="web") == 1
    site.metrics.end("POST", "/users/{id}", 201, 0.3)
    assert site.value("http_requests_in_progress", pool="web") == 0
    route = {"method": "POST", "route": "/users/{id}"}
    assert site.value("http_requests_total", status="201", **route) == 1
    assert site.value("http_request_duration_seconds_sum", **route) == 0.3
    assert site.value("http_request_duration_seconds_bucket", le="0.25", **route) == 0
    assert site.value("http_request_duration_seconds_bucket", le="0.5", **route) == 1


def test_invented_methods_are_one_series(site: Site) -> None:
    for number in range(50):
        site.serve(f"BREW{number}", UNMATCHED, 405)
    labels = {"method": "OTHER", "route": UNMATCHED, "status": "405"}
    assert site.value("http_requests_total", **labels) == 50


def test_too_many_routes_are_folded_but_keep_method_and_status(site: Site) -> None:
    for number in range(MAX_SERIES + 300):
        site.serve("GET", f"/{number}", 500)
    site.serve("GET", "/0", 500)
    assert site.value("http_requests_total", method="GET", route=OTHER, status="500") == 300
    assert site.value("http_requests_total", method="GET", route="/0", status="500") == 2


def test_a_request_of_a_trace_is_the_example_of_its_bucket(site: Site) -> None:
    for trace in ("a" * 32, "", "b" * 32, ""):
        site.metrics.begin()
        site.metrics.end("GET", "/", 200, 0.3, trace=trace)
    samples = [s for metric in site.registry.collect() for s in metric.samples if s.exemplar]
    assert [(s.labels["le"], s.exemplar.labels) for s in samples if s.exemplar] == [
        ("0.5", {"trace_id": "b" * 32})
    ]


def test_bodies_count_by_method_and_none_is_in_the_smallest_bucket(site: Site) -> None:
    for received, sent in ((0, 100), (1_000_000, 101), (0, 0)):
        site.metrics.begin()
        site.metrics.end("POST", "/", 200, 0.01, received, sent)
    for name, total, smallest in (("request", 1_000_000, 2), ("response", 201, 2)):
        assert site.value(f"http_{name}_size_bytes_sum", method="POST") == total
        bucket = site.value(f"http_{name}_size_bytes_bucket", method="POST", le="100.0")
        assert bucket == smallest
        assert site.value(f"http_{name}_size_bytes_count", method="POST") == 3
        assert site.value(f"http_{name}_size_bytes_count", method="GET") == 0


def test_what_became_of_connections_and_requests_has_zeros(site: Site) -> None:
    for outcome in ("accepted", "rejected", "tls_error"):
        assert site.value("http_connections_opened_total", outcome=outcome) == 0
    for reason in ("client", "timeout", "drain"):
        assert site.value("http_requests_aborted_total", reason=reason) == 0
    site.metrics.aborted("drain")
    assert site.value("http_requests_aborted_total", reason="drain") == 1


def test_exceptions_count_by_route(site: Site) -> None:
    site.metrics.exception("/pay")
    site.metrics.exception("/pay")
    assert site.value("http_exceptions_total", route="/pay") == 2


@pytest.mark.parametrize(("opened", "idle"), [(5, 3), (2, 0), (0, 0)])
def test_connections_without_a_request_are_idle(site: Site, opened: int, idle: int) -> None:
    site.open = opened
    site.metrics.begin()
    site.metrics.begin()
    assert site.value("http_connections", state="active") == 2
    assert site.value("http_connections", state="idle") == idle
