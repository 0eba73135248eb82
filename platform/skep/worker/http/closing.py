"""Connections that are closing.

A close over TLS sends close_notify and then waits for that of the client, which many clients never
send: the connection, and a worker that drains, would wait for asyncio's timeout of 30 s. That
timeout also cuts off the last answer of a client that reads slowly. So it is out of the way here,
and a connection is aborted when the client has everything, or takes nothing any more.
"""

import asyncio
import weakref
from typing import Any

from skep.base.system.linux import unacknowledged

# Seconds. How long a client that has everything may take to close.
_GRACE = 1.0
# Longer than any client takes to read a last answer.
_FOREVER = 86_400.0


def shutdown_timeout(loop: asyncio.AbstractEventLoop) -> float | None:
    """Return the timeout of a TLS shutdown, None for asyncio's own.

    That stays in force with asyncio's own loop, whose TLS transport cannot be aborted any more
    after a second `close` (CPython's sslproto.py).
    """
    return None if isinstance(loop, asyncio.SelectorEventLoop) else _FOREVER


class Closing:
    """Ends connections that are closing; has to be asked about each of them regularly."""

    def __init__(self) -> None:
        # How many bytes of each connection were unsent, and since when.
        self._seen: weakref.WeakKeyDictionary[Any, tuple[int, float]] = weakref.WeakKeyDictionary()

    def look(self, connection: Any, now: float, patience: float) -> bool:
        """Abort a closing connection that has nothing to wait for. Return whether the client has
        taken nothing of its answer for `patience` seconds."""
        transport = connection.transport
        try:
            # What the transport below that of TLS still holds does not count here, but it holds
            # nothing unless the kernel has as much as it takes.
            held = unacknowledged(transport.get_extra_info("socket").fileno())
            unsent: int = transport.get_write_buffer_size() + held
        except AttributeError:  # it was closed twice, see above
            return False
        before, since = self._seen.get(connection, (-1, now))
        if unsent != before:
            self._seen[connection] = unsent, now
        elif now - since >= (patience if unsent else _GRACE):
            transport.abort()
            return unsent > 0
        return False
