"""The inline engine: the store's own states in the memory of this process, with a clock to be set.

For tests of plugins: nothing survives the process. Several clients share one `MemoryStore`, as
several processes share a store.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from skep.base.errors import EngineError
from skep.engine import protocol
from skep.engine.contract import Lease
from skep.engine.embedded import StoreClient
from skep.engine.ids import now_ms
from skep.engine.store_connection import NOT_OPEN, refusal
from skep.store.file.schema import IN_MEMORY
from skep.store.request_executor import RequestExecutor
from skep.store.state.database import Database
from skep.store.waiters import LeaseWaiters, ResultWaiters

_LONGEST_NAP = 1.0


class MemoryStore:
    """What the inline engines of one process share; `clock` returns milliseconds since the epoch.

    Waiting clients look again at least once a second, so a clock that was set needs no signal.
    """

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self.clock = clock
        self.database = Database(IN_MEMORY, "inline", clock())
        self._lease_waiters = LeaseWaiters(self.database, asleep=lambda _: False)
        self._requests = RequestExecutor(
            self.database, self._lease_waiters, ResultWaiters(), lease_ms=0
        )
        self._clients: dict[int, InlineConnection] = {}
        self._numbers = itertools.count(1)
        self._sleepers: set[asyncio.Future[None]] = set()

    def close(self) -> None:
        self.database.close()

    def add(self, client: "InlineConnection") -> None:
        client.number = next(self._numbers)
        self._clients[client.number] = client

    def remove(self, client: "InlineConnection", *, lost: bool) -> None:
        """Give back what a client holds, as losses or uncounted."""
        number, client.number = client.number, 0
        if self._clients.pop(number, None) is not None:
            with self._transaction() as now:
                self._requests.let_go(number, lost, now)

    def answer(
        self, client: "InlineConnection", request: protocol.Request
    ) -> protocol.Reply | None:
        """Carry out a request; None when its answer is sent later."""
        with self._transaction() as now:
            return self._requests.answer(client, request, now)

    def take(self, client: "InlineConnection", take: protocol.Take) -> list[Lease]:
        """Lease what is ready; return nothing when that is nothing."""
        with self._transaction() as now:
            self._lease_waiters.add(client, take)
            handed = self._lease_waiters.hand_out(now)
            self._lease_waiters.remove(client, take.call)
        return [lease for _, reply in handed for lease in reply.leases]

    async def changed(self) -> None:
        """Wait until something may have changed, at most a second."""
        now = self.clock()
        due = self.database.next_wake(now)
        nap = _LONGEST_NAP if due is None else min(max(due - now, 1) / 1000, _LONGEST_NAP)
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            await asyncio.wait({sleeper}, timeout=nap)
        finally:
            self._sleepers.discard(sleeper)

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        """Yield the time; commit at the end, then notify the clients concerned."""
        now, commits = self.clock(), self.database.commits
        self._lease_waiters.begin()
        try:
            self.database.moves.promote(now)
            yield now
            self.database.commit()
        except BaseException:
            self._lease_waiters.rollback()
            self.database.rollback()
            raise
        self._requests.notify(self._clients)
        if self.database.commits == commits:
            return
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


class InlineConnection:
    """A client's connection to a `MemoryStore`: every request is carried out at once."""

    def __init__(
        self, store: MemoryStore, owner: str, flagged: Callable[[list[str]], None]
    ) -> None:
        self.number = 0
        self.owner = owner
        self._store = store
        self._flagged = flagged
        self._calls = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[protocol.Reply]] = {}

    def next_call(self) -> int:
        return next(self._calls)

    async def open(self) -> None:
        self._store.add(self)

    async def close(self) -> None:
        self._store.remove(self, lost=False)

    async def ask(
        self, request: protocol.Request, tokens: Sequence[str] = (), wait: float = 0.0
    ) -> Any:
        reply = self._opened(request).answer(self, request)
        if reply is None:
            future = self._waiting[request.call] = asyncio.get_running_loop().create_future()
            try:
                return await future
            finally:
                del self._waiting[request.call]
        if isinstance(reply, protocol.NoRoom):
            raise refusal(reply)
        return reply

    async def take(self, queues: Sequence[str], n: int) -> list[Lease]:
        while not (leases := self.take_now(queues, n)):
            await self._store.changed()
        return leases

    def take_now(self, queues: Sequence[str], n: int) -> list[Lease]:
        take = protocol.Take(self.next_call(), queues, n)
        return self._opened(take).take(self, take)

    def send(self, replies: Sequence[protocol.Reply]) -> None:
        """Receive what the store sends later than it was asked, or unasked."""
        for reply in replies:
            if isinstance(reply, protocol.Flagged):
                self._flagged(reply.ids)
            elif (future := self._waiting.get(reply.call)) and not future.done():
                future.set_result(reply)

    def _opened(self, request: protocol.Request) -> MemoryStore:
        protocol.checked_frame(request)
        if not self.number:
            raise EngineError(NOT_OPEN)
        return self._store


class Inline(StoreClient):
    """An engine whose store is in the memory of this process."""

    def __init__(self, store: MemoryStore, owner: str) -> None:
        def connect(flagged: Callable[[list[str]], None]) -> InlineConnection:
            self.connection = InlineConnection(store, owner, flagged)
            return self.connection

        super().__init__(connect)
