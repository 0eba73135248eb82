"""The head of an answer and its body in one write: uvicorn makes two, and a call into the kernel
costs a request more than all that is done for it here.

The turn of the loop that is asked for is mostly for nothing; but without it uvloop was slower, not
faster (1.21 times a bare uvicorn's CPU per request, against 1.12).
"""

import asyncio
from collections.abc import Callable

# Copying more than this costs more than a second call.
_SMALL = 64 * 1024


class Joined:
    """Stands for the transport in one request. The first write waits for the second one, or for
    the next turn of the event loop: a stream's head is not kept from the client. `hang_up()` is
    called to close the connection, when all is written."""

    __slots__ = ("_first", "_hang_up", "_loop", "_transport", "_waited")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        hang_up: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._hang_up = hang_up
        self._first = b""
        self._waited = False

    def write(self, data: bytes) -> None:
        """Write, the first time as soon as there is more."""
        if not self._waited:
            self._waited = True
            self._first = data
            self._loop.call_soon(self.flush)
        elif self._first and len(data) <= _SMALL:
            first, self._first = self._first, b""
            self._transport.write(first + data)
        else:
            self.flush()
            self._transport.write(data)

    def flush(self) -> None:
        """Write what waits."""
        if self._first:
            first, self._first = self._first, b""
            self._transport.write(first)

    def close(self) -> None:
        """Close the connection when all is written."""
        self.flush()
        self._hang_up()

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._transport.is_closing()
