"""Write the head of an answer and its body at once: uvicorn makes two writes, and a system call
costs more than everything done for a request here. The request's id ends the head.

The turn of the loop that is requested is mostly unused; without it a request cost as much CPU (1.06
and 1.05 times a bare uvicorn's, 300 slices of each in turn on a busy machine).
"""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

HEADER = b"x-request-id"
# Where the edge puts the id for the client; the application may change `state`. As one of
# the headers, which are searched for what is forbidden there, it cost a request 2 % of its CPU.
ID_IN_SCOPE = "skep.request_id"
# Copying more than this costs more than a second call.
_SMALL = 64 * 1024
_INTERIM = b"HTTP/1.1 1"
_FAILED = b"""HTTP/1.1 500 Internal Server Error\r
content-length: 0\r
connection: close\r
\r
"""


class CoalescedWrites:
    """The transport of one request. The first write waits for the second, or for the next turn of
    the event loop, so that a client receives the head of a stream. `hang_up()` closes the
    connection after the last write.

    The first write removes the id from the scope, which shows others that it came.
    """

    __slots__ = ("_first", "_hang_up", "_loop", "_scope", "_transport", "_waited")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        hang_up: Callable[[], None],
        scope: MutableMapping[str, Any],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._hang_up = hang_up
        self._scope = scope
        self._first = b""
        self._waited = False

    def write(self, data: bytes) -> None:
        """Write; hold the first write back until there is more."""
        if not self._waited:
            if data.startswith(_INTERIM):  # the head of the answer is still to come
                self._transport.write(data)
                return
            self._waited = True
            name = self._scope.pop(ID_IN_SCOPE).encode()
            self._first = b"%b%b: %b\r\n\r\n" % (data[:-2], HEADER, name)
            self._loop.call_soon(self.flush)
        elif self._first and len(data) <= _SMALL:
            first, self._first = self._first, b""
            self._transport.write(first + data)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        if self._first:
            first, self._first = self._first, b""
            self._transport.write(first)

    def close(self) -> None:
        """Close the connection when all is written.

        uvicorn calls this before any answer if it cannot send the head; then the answer is 500.
        """
        if not self._waited:
            self.write(_FAILED)
        self.flush()
        self._hang_up()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
