"""What a client may cost, and when the patience of a web worker with it ends.

SILENT ──first byte──► HEAD ──its end──► BODY ──its end──► ANSWER ──answered──► IDLE
                         ▲                                                        │
                         └───────────────────────first byte───────────────────────┘
any of them ──refused──► LEAVING: the refusal is out, what still arrives is thrown away
"""

import asyncio
import math
import resource
import weakref
from enum import Enum
from typing import Any

from skep.base.system.linux import unacknowledged
from skep.config.options.table import Options
from skep.metrics.instruments import Instruments
from skep.metrics.web import ConnectionMetrics
from skep.worker.http.forwarded import Proxies

_LOOK = 0.5
# Descriptors that are not connections: the channel, the store, files, clients of plugins.
_RESERVED = 100
_MOST_DESCRIPTORS = 65536
# How long, and up to how many bytes, we still read from a refused client: a client that is cut off
# while it sends may never see the refusal.
LEAVE_SECONDS, LEAVE_BYTES = 2.0, 1024 * 1024
# Seconds. How long a client that has everything may take to close.
_GRACE = 1.0
# Longer than any client takes to read a last answer.
_FOREVER = 86_400.0


class ConnectionPhase(Enum):
    """What a connection waits for."""

    SILENT = "its first byte"
    HEAD = "the rest of a request's head"
    BODY = "the rest of a request's body"
    ANSWER = "the answer of the application"
    IDLE = "the next request"
    LEAVING = "the client to go"


# An attribute of a class costs thirty times what a global does, and a request asks ten times.
SILENT, HEAD, BODY, ANSWER, IDLE, LEAVING = ConnectionPhase


class Guard:
    """Limits the connections of one worker, and ends those that take too long.

    A close over TLS sends close_notify and then waits for the client's, which many clients never
    send: the connection, and a draining worker, would wait for asyncio's timeout of 30 s. That
    timeout also cuts off the last answer of a client that reads slowly. So it is disabled, and a
    closing connection is aborted when the client has everything, or takes nothing any more.
    """

    def __init__(self, options: Options, instruments: Instruments) -> None:
        self.options = options
        self.proxies = Proxies(options.trusted_proxies)
        self.most_connections = min(options.max_connections, _descriptors() - _RESERVED)
        self.counts = ConnectionMetrics(instruments)
        self._refusals = instruments.children("http_refusals_total")
        self.dropped = instruments.child("http_trailers_dropped_total").inc
        # How many bytes of each closing connection were unsent, and since when.
        self._unsent: weakref.WeakKeyDictionary[Any, tuple[int, float]]
        self._unsent = weakref.WeakKeyDictionary()

    def refused(self, reason: str) -> None:
        """Count a client that had to go."""
        self._refusals[(reason,)].inc()

    async def watch(self, connections: set[Any]) -> None:
        """Look at the connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK)
            now = loop.time()
            for connection in list(connections):
                if connection.transport.is_closing():
                    self._look_at_closing(connection, now)
                elif hasattr(connection, "look"):  # a WebSocket has timers of its own
                    connection.look(now)

    def overdue(self, phase: ConnectionPhase, waited: float) -> bool:
        """Return whether a client in this phase, `waited` seconds without progress, must go."""
        options = self.options
        patience = {
            SILENT: options.header_timeout,
            HEAD: options.header_timeout,
            BODY: options.progress_timeout,
            ANSWER: math.inf,
            IDLE: options.keep_alive,
            LEAVING: LEAVE_SECONDS,
        }
        return waited > patience[phase]

    def _look_at_closing(self, connection: Any, now: float) -> None:
        transport = connection.transport
        try:
            # What the transport below that of TLS still holds does not count here, but it holds
            # nothing unless the kernel has as much as it takes.
            held = unacknowledged(transport.get_extra_info("socket").fileno())
            unsent: int = transport.get_write_buffer_size() + held
        except AttributeError:  # it was closed twice, see `shutdown_timeout`
            return
        before, since = self._unsent.get(connection, (-1, now))
        if unsent != before:
            self._unsent[connection] = unsent, now
        elif now - since >= (self.options.progress_timeout if unsent else _GRACE):
            transport.abort()
            if unsent:
                self.refused("slow_reader")
                if hasattr(connection, "time_out"):
                    connection.time_out()


def shutdown_timeout(loop: asyncio.AbstractEventLoop) -> float | None:
    """Return the timeout of a TLS shutdown, None for asyncio's own.

    That stays in force with asyncio's own loop, whose TLS transport cannot be aborted any more
    after a second `close` (CPython's sslproto.py).
    """
    return None if isinstance(loop, asyncio.SelectorEventLoop) else _FOREVER


def _descriptors() -> int:
    """Raise the limit of file descriptors as far as the system permits; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        return ceiling
    return soft if soft != resource.RLIM_INFINITY else _MOST_DESCRIPTORS
