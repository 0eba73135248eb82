"""The metrics of WebSockets and of the plugins' own sockets, fed by hand like those of HTTP."""

from collections.abc import Callable

from skep.metrics.instruments import Instruments


class WebSocketMetrics:
    """Counts connections and messages. Call it in the event loop only."""

    def __init__(self, instruments: Instruments) -> None:
        self._gauge = instruments.child("websocket_connections")
        self.opened: Callable[[], None] = instruments.child("websocket_opens_total").inc
        messages = instruments.children("websocket_messages_total")
        self.received: Callable[[], None] = messages[("in",)].inc
        self.sent: Callable[[float], None] = messages[("out",)].inc
        self.pushed: Callable[[float], None] = instruments.child("websocket_pushes_total").inc
        self._closes = instruments.children("websocket_closes_total")
        self._refusals = instruments.children("websocket_refusals_total")

    def watch(self, connections: Callable[[], int]) -> None:
        """Read the number of open connections from this function."""
        self._gauge.set_function(connections)

    def closed(self, code: int) -> None:
        """Count a closed connection; the codes of applications (3000 to 4999) count as one."""
        self._closes[("application" if code >= 3000 else str(code),)].inc()

    def refused(self, why: str) -> None:
        """Count a refused handshake."""
        self._refusals[(why,)].inc()


class SocketMetrics:
    """Counts what comes in on one listener of a plugin."""

    def __init__(self, instruments: Instruments, listener: str) -> None:
        self._listener = listener
        self._gauge = instruments.child("socket_connections", listener=listener)
        self.opened: Callable[[], None] = instruments.child(
            "socket_opens_total", listener=listener
        ).inc
        self.received: Callable[[], None] = instruments.child(
            "socket_frames_total", listener=listener
        ).inc
        self._closes = instruments.children("socket_closes_total")

    def watch(self, connections: Callable[[], int]) -> None:
        """Read the number of open connections from this function."""
        self._gauge.set_function(connections)

    def closed(self, reason: str) -> None:
        """Count a connection that ended or was refused, or a failed handler of a packet."""
        self._closes[(self._listener, reason)].inc()
