"""Those who wait for leases, the first first."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from skep.engine import protocol
from skep.engine.base import Lease
from skep.store.connection import Client
from skep.store.state.database import Database


class _Waiter(NamedTuple):
    connection: Client
    take: protocol.Take


class LeaseWaiters:
    """The requests to lease that are not answered; `asleep` says of an owner that it gets none."""

    def __init__(self, database: Database, asleep: Callable[[str], bool]) -> None:
        self._database = database
        self._asleep = asleep
        self._waiting: deque[_Waiter] = deque()
        self._before = self._waiting
        self._rounds = 0

    def begin(self) -> None:
        """A turn begins."""
        self._before = self._waiting.copy()

    def rollback(self) -> None:
        """What was told to nobody has not happened: they wait as before the turn."""
        self._waiting = self._before

    def add(self, connection: Client, take: protocol.Take) -> None:
        """Let one more wait."""
        self._waiting.append(_Waiter(connection, take))

    def remove(self, connection: Client, call: int) -> bool:
        """Let one wait no longer; False if it was answered already."""
        for waiter in self._waiting:
            if waiter.connection is connection and waiter.take.call == call:
                self._waiting.remove(waiter)
                return True
        return False

    def forget(self, number: int) -> None:
        """A connection waits for nothing any more."""
        self._waiting = deque(t for t in self._waiting if t.connection.number != number)

    def hand_out(self, now: int) -> list[tuple[Client, protocol.Leases]]:
        """Lease what is ready to those who wait; return what is to be told."""
        told: list[tuple[Client, protocol.Leases]] = []
        if not self._waiting or not self._database.ready_queues():
            return told
        self._rounds += 1
        still_waiting: deque[_Waiter] = deque()
        for waiter in self._waiting:
            leases = self._take(waiter, now)
            if leases:
                told.append((waiter.connection, protocol.Leases(waiter.take.call, leases)))
            else:
                still_waiting.append(waiter)
        self._waiting = still_waiting
        return told

    def _take(self, waiter: _Waiter, now: int) -> list[Lease]:
        connection, take = waiter
        queues = _selected(take.queues, self._database.ready_queues())
        if not queues or self._asleep(connection.owner):
            return []
        # Begin with another queue each time, so that a busy one starves no other.
        first = self._rounds % len(queues)
        turned = [*queues[first:], *queues[:first]]
        moves = self._database.moves
        return moves.take(connection.owner, connection.number, turned, take.n, now)


def _selected(named: Sequence[str], ready: Sequence[str]) -> Sequence[str]:
    """Return the queues that are named, or of the `ready` ones those that no `-name` leaves out."""
    if named and not named[0].startswith("-"):
        return named
    return [queue for queue in ready if f"-{queue}" not in named]
