"""The polls that wait for changes of namespaces, in one event loop."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from skep.configserver.model.names import Address
from skep.configserver.model.releases import Notification

Waiter = asyncio.Future[Notification | None]


class Watchers:
    """The held polls by the addresses they watch. All methods belong to one event loop.

    A poll that reads the latest ids *after* it began to wait misses no change: it either reads it
    or is woken by it.
    """

    def __init__(self) -> None:
        # Invariant: a waiter is here exactly from `join` to `leave`, and no set is empty, so that
        # unwatched addresses cost nothing.
        self._waiters: dict[Address, set[Waiter]] = {}
        self._closed = False

    @property
    def held(self) -> int:
        """How many polls wait."""
        return len(set().union(*self._waiters.values()))

    @contextmanager
    def waiting(self, addresses: Iterable[Address]) -> Iterator[Waiter]:
        """Wait in this block: the future gets the first notification of any of the addresses, or
        None when the server stops."""
        watched = folded(addresses)
        waiter = self.join(watched)
        try:
            yield waiter
        finally:
            self.leave(waiter, watched)

    def join(self, watched: Iterable[Address]) -> Waiter:
        """Return a future that waits like that until `leave`; the addresses are `folded`."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        if self._closed:
            waiter.set_result(None)
        for address in watched:
            self._waiters.setdefault(address, set()).add(waiter)
        return waiter

    def leave(self, waiter: Waiter, watched: Iterable[Address]) -> None:
        """Forget a waiter of these addresses."""
        for address in watched:
            self._waiters[address].discard(waiter)
            if not self._waiters[address]:
                del self._waiters[address]

    def wake(self, notification: Notification) -> int:
        """Send the notification to all that wait for its address; return their number."""
        waiters = self._waiters.get(notification.address.fold(), set())
        return sum(give(waiter, notification) for waiter in waiters)

    def close(self) -> None:
        """Answer all polls, also later ones, with nothing."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                give(waiter, None)


def folded(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Return the addresses in the form that all spellings share, each once."""
    return tuple({address.fold() for address in addresses})


def give(waiter: Waiter, notification: Notification | None) -> bool:
    """End a wait with this notification, or with nothing; return whether it had not ended."""
    if waiter.done():
        return False
    waiter.set_result(notification)
    return True
