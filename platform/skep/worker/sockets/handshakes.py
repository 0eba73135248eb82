"""Accepted connections whose TLS handshake is not finished.

A protocol learns of its connection only after the handshake. A worker that ended before would reset
a client that has done nothing wrong.
"""

import asyncio
import weakref
from typing import Any

_LOOK = 0.02


class Handshakes:
    """The protocols whose connections are not established yet. `patience` is how long a handshake
    may take, in seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        # asyncio does not notify a protocol whose handshake failed, so references are weak.
        self._since: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    def expect(self, protocol: Any) -> None:
        """Add a protocol; it has no `transport` until its handshake is done."""
        self._since[protocol] = asyncio.get_running_loop().time()

    @property
    def pending(self) -> bool:
        earliest = asyncio.get_running_loop().time() - self._patience
        return any(
            protocol.transport is None and since > earliest
            for protocol, since in list(self._since.items())
        )

    async def settle(self, deadline: float) -> None:
        """Wait until no handshake is pending, or the loop's time is `deadline`."""
        loop = asyncio.get_running_loop()
        while self.pending and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
