"""The clients that wait for the result of a delivery."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from skep.engine.contract import Result
from skep.engine.protocol import Ended
from skep.store.connection import Client


@dataclass(eq=False)
class _Waiter:
    connection: Client
    call: int
    alarm: asyncio.TimerHandle


class ResultWaiters:
    """The open requests for results; each is answered at the latest when its time is over."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, list[_Waiter]] = defaultdict(list)

    def add(self, connection: Client, call: int, delivery: str, seconds: float) -> None:
        """Answer when the delivery has ended, or after so many seconds."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(seconds, self._give_up, delivery, call, connection)
        self._waiting[delivery].append(_Waiter(connection, call, alarm))

    def answer(self, results: Sequence[Result]) -> None:
        """Send these results to the clients that wait for them."""
        for result in results:
            for waiter in self._waiting.pop(result.id, ()):
                waiter.alarm.cancel()
                waiter.connection.send([Ended(waiter.call, result)])

    def close(self) -> None:
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.alarm.cancel()
        self._waiting.clear()

    def _give_up(self, delivery: str, call: int, connection: Client) -> None:
        left = [w for w in self._waiting[delivery] if (w.connection, w.call) != (connection, call)]
        self._waiting[delivery] = left
        if not left:
            del self._waiting[delivery]
        connection.send([Ended(call, None)])
