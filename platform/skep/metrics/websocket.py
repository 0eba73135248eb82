"""The metrics of WebSockets and of the plugins' own sockets, fed by hand like those of HTTP."""

from collections.abc import Callable

from skep.metrics.instruments import Instruments
from skep.metrics.names import MAX_SERIES


class RouteMetrics:
    """Counts the WebSockets of one route."""

    def __init__(self, instruments: Instruments, route: str) -> None:
        self.route = route
        self._connections = instruments.child("websocket_connections", route=route)
        self._opens = instruments.child("websocket_opens_total", route=route)
        self._closes = instruments.children("websocket_closes_total")
        self._durations = instruments.child("websocket_connection_duration_seconds", route=route)
        messages = instruments.children("websocket_messages_total")
        amounts = instruments.children("websocket_message_bytes_total")
        self._received, self._bytes_in = messages[route, "in"], amounts[route, "in"]
        self._sent, self._bytes_out = messages[route, "out"], amounts[route, "out"]

    def opened(self) -> None:
        self._opens.inc()
        self._connections.inc()

    def closed(self, code: int, seconds: float) -> None:
        """Count a connection and how long it was open; the codes of applications (3000 to 4999)
        count as one."""
        self._closes[self.route, "application" if code >= 3000 else str(code)].inc()
        self._connections.dec()
        self._durations.observe(seconds)

    def received(self, size: int) -> None:
        self._received.inc()
        self._bytes_in.inc(size)

    def sent(self, size: int, times: int = 1) -> None:
        """Count a message of this size, sent to so many connections."""
        self._sent.inc(times)
        self._bytes_out.inc(size * times)


class WebSocketMetrics:
    """Counts connections and messages. Call it in the event loop only. `route` is a template, as in
    the metrics of HTTP."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._routes: dict[str, RouteMetrics] = {}
        self._waiting: Callable[[str], int] = lambda _: 0
        self.pushed: Callable[[float], None] = instruments.child("websocket_pushes_total").inc
        self._refusals = instruments.children("websocket_refusals_total")

    def watch(self, waiting: Callable[[str], int]) -> None:
        """Read from this function how many messages of a route wait for slow readers."""
        self._waiting = waiting

    def route(self, route: str) -> RouteMetrics:
        """Return what counts the WebSockets of this route."""
        found = self._routes.get(route)
        if found is None:
            found = RouteMetrics(self._instruments, route)
            if len(self._routes) < MAX_SERIES:
                self._routes[route] = found
                gauge = self._instruments.child("websocket_send_queue_messages", route=route)
                gauge.set_function(lambda: self._waiting(route))
        return found

    def refused(self, why: str) -> None:
        """Count a refused handshake."""
        self._refusals[(why,)].inc()


class SocketMetrics:
    """Counts what comes in and goes out on one listener of a plugin."""

    def __init__(self, instruments: Instruments, listener: str) -> None:
        self._listener = listener
        self._gauge = instruments.child("socket_connections", listener=listener)
        self.opened: Callable[[], None] = instruments.child(
            "socket_opens_total", listener=listener
        ).inc
        self.received: Callable[[], None] = instruments.child(
            "socket_frames_total", listener=listener
        ).inc
        amounts = instruments.children("socket_bytes_total")
        self.bytes_in: Callable[[float], None] = amounts[listener, "in"].inc
        self.bytes_out: Callable[[float], None] = amounts[listener, "out"].inc
        self._closes = instruments.children("socket_closes_total")

    def watch(self, connections: Callable[[], int]) -> None:
        """Read the number of open connections from this function."""
        self._gauge.set_function(connections)

    def closed(self, reason: str) -> None:
        """Count a connection that ended or was refused, or a failed handler of a packet."""
        self._closes[(self._listener, reason)].inc()
