from prometheus_client import CollectorRegistry

from skep.metrics.instruments import Instruments
from skep.metrics.names import MAX_SERIES, OTHER
from skep.metrics.websocket import SocketMetrics, WebSocketMetrics

ROUTE = {"route": "/room/{name}"}


class Site:
    """A web worker's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.instruments = Instruments(self.registry, "web")
        self.metrics = WebSocketMetrics(self.instruments)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"platform_{name}", labels)


def test_a_route_shows_zeros_before_its_first_connection() -> None:
    site = Site()
    site.metrics.route(ROUTE["route"])
    assert site.value("websocket_opens_total", **ROUTE) == 0
    assert site.value("websocket_connections", **ROUTE) == 0
    assert site.value("websocket_connection_duration_seconds_count", **ROUTE) == 0
    for direction in ("in", "out"):
        assert site.value("websocket_message_bytes_total", direction=direction, **ROUTE) == 0


def test_a_connection_and_its_messages_count_for_their_route() -> None:
    site = Site()
    site.metrics.watch(lambda route: 7 if route == ROUTE["route"] else 0)
    route, other = site.metrics.route(ROUTE["route"]), site.metrics.route("/other")
    for _ in range(2):
        route.opened()
    route.received(10)
    route.sent(300, 4)
    route.closed(1000, 30.0)
    assert site.metrics.route(ROUTE["route"]) is route
    assert site.value("websocket_connections", **ROUTE) == 1
    assert site.value("websocket_messages_total", direction="out", **ROUTE) == 4
    assert site.value("websocket_message_bytes_total", direction="out", **ROUTE) == 1200
    assert site.value("websocket_message_bytes_total", direction="in", **ROUTE) == 10
    assert site.value("websocket_closes_total", code="1000", **ROUTE) == 1
    assert site.value("websocket_connection_duration_seconds_bucket", le="15.0", **ROUTE) == 0
    assert site.value("websocket_connection_duration_seconds_bucket", le="60.0", **ROUTE) == 1
    assert site.value("websocket_send_queue_messages", **ROUTE) == 7
    other.closed(4711, 0.0)
    assert site.value("websocket_closes_total", code="application", route="/other") == 1


def test_too_many_routes_are_folded() -> None:
    site = Site()
    for number in range(MAX_SERIES + 50):
        site.metrics.route(f"/{number}").opened()
    assert site.value("websocket_opens_total", route="/0") == 1
    assert site.value("websocket_opens_total", route=OTHER) == 50


def test_bytes_of_a_listener_count_by_direction() -> None:
    site = Site()
    sockets = SocketMetrics(site.instruments, "shop.lines")
    labels = {"listener": "shop.lines"}
    assert site.value("socket_bytes_total", direction="out", **labels) == 0
    sockets.bytes_in(100)
    sockets.bytes_in(20)
    sockets.bytes_out(3)
    assert site.value("socket_bytes_total", direction="in", **labels) == 120
    assert site.value("socket_bytes_total", direction="out", **labels) == 3
