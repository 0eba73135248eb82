"""The clients that wait: for leases, in the order of their requests, and for results."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from skep.engine import protocol
from skep.engine.contract import Lease, Result
from skep.store.state.database import Database


class Client(Protocol):
    """One end of the store: a process behind a socket, or a client in this process."""

    number: int
    owner: str

    def send(self, replies: Sequence[protocol.Reply]) -> None:
        """Send replies; they are lost on a client that has gone."""


class _Waiter(NamedTuple):
    connection: Client
    take: protocol.Take


class LeaseWaiters:
    """The open requests to lease; an owner that is `asleep` gets none."""

    def __init__(self, database: Database, asleep: Callable[[str], bool]) -> None:
        self._database = database
        self._asleep = asleep
        self._waiting: deque[_Waiter] = deque()
        self._before = self._waiting
        self._rounds = 0

    def begin(self) -> None:
        self._before = self._waiting.copy()

    def rollback(self) -> None:
        """Restore what waited when the transaction began."""
        self._waiting = self._before

    def add(self, connection: Client, take: protocol.Take) -> None:
        self._waiting.append(_Waiter(connection, take))

    def remove(self, connection: Client, call: int) -> bool:
        """Remove a request; return False if it is already answered."""
        for waiter in self._waiting:
            if waiter.connection is connection and waiter.take.call == call:
                self._waiting.remove(waiter)
                return True
        return False

    def forget(self, number: int) -> None:
        self._waiting = deque(t for t in self._waiting if t.connection.number != number)

    def hand_out(self, now: int) -> list[tuple[Client, protocol.Leases]]:
        """Lease what is ready to the waiting clients; return the replies to send."""
        replies: list[tuple[Client, protocol.Leases]] = []
        if not self._waiting or not self._database.ready_queues():
            return replies
        self._rounds += 1
        still_waiting: deque[_Waiter] = deque()
        for waiter in self._waiting:
            leases = self._take(waiter, now)
            if leases:
                replies.append((waiter.connection, protocol.Leases(waiter.take.call, leases)))
            else:
                still_waiting.append(waiter)
        self._waiting = still_waiting
        return replies

    def _take(self, waiter: _Waiter, now: int) -> list[Lease]:
        connection, take = waiter
        queues = take.queues
        if not queues or queues[0].startswith("-"):
            # None is named, or some are excluded: all others in which something is ready.
            queues = [q for q in self._database.ready_queues() if f"-{q}" not in queues]
        if not queues or self._asleep(connection.owner):
            return []
        # Start with another queue each time, so that a busy one does not starve the others.
        first = self._rounds % len(queues)
        turned = [*queues[first:], *queues[:first]]
        moves = self._database.moves
        return moves.take(connection.owner, connection.number, turned, take.n, now)


class ResultWaiters:
    """The open requests for results; each is answered at the latest when its time is over."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, dict[tuple[Client, int], asyncio.TimerHandle]]
        self._waiting = defaultdict(dict)

    def add(self, connection: Client, call: int, delivery: str, seconds: float) -> None:
        """Answer when the delivery has ended, or after so many seconds."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(seconds, self._give_up, connection, call, delivery)
        self._waiting[delivery][connection, call] = alarm

    def answer(self, results: Sequence[Result]) -> None:
        """Send these results to the clients that wait for them."""
        for result in results:
            for (connection, call), alarm in self._waiting.pop(result.id, {}).items():
                alarm.cancel()
                connection.send([protocol.Ended(call, result)])

    def close(self) -> None:
        for waiting in self._waiting.values():
            for alarm in waiting.values():
                alarm.cancel()
        self._waiting.clear()

    def _give_up(self, connection: Client, call: int, delivery: str) -> None:
        self._waiting[delivery].pop((connection, call), None)
        if not self._waiting[delivery]:
            del self._waiting[delivery]
        connection.send([protocol.Ended(call, None)])
