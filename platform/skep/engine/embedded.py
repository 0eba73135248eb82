"""The embedded engine: a client of this machine's store, over its unix socket.

`StoreClient` turns the methods of `Engine` into requests of the store's protocol, for any
connection that carries them.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol

from msgspec.structs import replace

from skep.base.errors import EngineError, RequestRefused
from skep.engine import protocol
from skep.engine.contract import (
    LARGEST_PROGRESS,
    Cancellation,
    CountedStep,
    DeliveryRow,
    Edit,
    Envelope,
    Hold,
    Lease,
    Outcome,
    QueueLimits,
    QueueStats,
    Result,
    RowState,
    Settlement,
)
from skep.engine.ids import milliseconds, new_id
from skep.engine.store_connection import StoreConnection

log = logging.getLogger(__name__)

P = ParamSpec("P")

# A quarter of the largest request: the largest follow-up there is may still be added to it.
_LARGEST_BATCH = protocol.LARGEST_REQUEST // 4
# The reason of a dead letter whose settlement the store could not take.
_UNSETTLED = "unsettled"


class Requests(Protocol):
    """A connection to a store."""

    def next_call(self) -> int:
        """Return the number of the next request."""

    async def open(self) -> None:
        """Connect. Raises StoreUnavailable when no store answers."""

    async def close(self) -> None:
        """Give back what is held and disconnect."""

    async def ask(
        self, request: protocol.Request, tokens: Sequence[str] = (), wait: float = 0.0
    ) -> Any:
        """Return the store's reply, which ends the leases of these tokens."""

    async def take(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait for leases, for ever; if that is cancelled, they go back."""


class StoreClient:
    """An engine whose store is at the other end of the connection that `connect` makes.

    `connect` takes the function to call with the ids of deliveries that are held here and were
    cancelled. See `Engine` for the methods; all belong to the loop that called `open`.
    """

    def __init__(self, connect: Callable[[Callable[[list[str]], None]], Requests]) -> None:
        self._flagged: asyncio.Queue[list[str]] = asyncio.Queue()
        self._store = connect(self._flagged.put_nowait)
        self.open, self.close, self.lease = self._store.open, self._store.close, self._store.take

    def _ask(
        self, kind: Callable[Concatenate[int, P], protocol.Request], *a: P.args, **k: P.kwargs
    ) -> Coroutine[Any, Any, Any]:
        return self._store.ask(kind(self._store.next_call(), *a, **k))

    # -- deliveries ------------------------------------------------------------------------------

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        reply: protocol.PutOutcomes = await self._ask(protocol.Put, envelopes)
        return reply.outcomes

    async def extend(self, leases: Sequence[Lease]) -> list[bool]:
        tokens = [lease.token for lease in leases]
        reply: protocol.Accepted = await self._ask(protocol.Extend, tokens)
        return reply.accepted

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        accepted: list[bool] = []
        marks = [
            protocol.Mark(
                s.lease.token,
                s.verdict,
                s.at,
                s.reason,
                s.error,
                s.then,
                s.result,
                s.step,
                s.outcome,
                s.event,
                s.skipped,
            )
            for s in settlements
        ]
        for batch in _batches(marks):
            accepted += await self._settle(batch)
        return accepted

    async def _settle(self, marks: list[protocol.Mark]) -> list[bool]:
        """Settle one batch. If it is refused, settle each alone, so that one blocks no other; what
        still cannot be settled becomes a dead letter."""
        request = protocol.Settle(self._store.next_call(), marks)
        tokens = [mark.token for mark in marks]
        try:
            reply: protocol.Accepted = await self._store.ask(request, tokens)
        except (RequestRefused, ValueError) as error:
            if len(marks) > 1:
                return [(await self._settle([mark]))[0] for mark in marks]
            if marks[0].reason == _UNSETTLED:
                raise
            log.error("The lease %s cannot be settled: %s", marks[0].token, error)
            dead = replace(
                marks[0],
                verdict="dead",
                at=0,
                reason=_UNSETTLED,
                error=str(error),
                then=(),
                result=b"",
            )
            return await self._settle([dead])
        return reply.accepted

    async def progress(self, lease: Lease, value: str) -> bool:
        if (length := len(value.encode())) > LARGEST_PROGRESS:
            raise EngineError(
                f"The progress has {length} bytes, and {LARGEST_PROGRESS} is the most: "
                "it is a note for operators, keep data elsewhere."
            )
        reply: protocol.Accepted = await self._ask(protocol.Note, lease.token, value)
        return reply.accepted[0]

    async def reap(self, owner: str) -> int:
        reply: protocol.Affected = await self._ask(protocol.Reap, owner)
        return reply.number

    # -- cancelling ------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[str]) -> list[Cancellation]:
        reply: protocol.Cancellations = await self._ask(protocol.Cancel, ids)
        return reply.found

    async def cancelled(self) -> list[str]:
        return await self._flagged.get()

    # -- the leader ------------------------------------------------------------------------------

    async def hold(self, name: str, ttl: int, token: str = "") -> Hold | None:
        # The client makes the token, so that it can repeat the request when the answer was lost.
        reply: protocol.HoldAnswer = await self._ask(protocol.Grasp, name, token or new_id(), ttl)
        return reply.hold

    async def drop(self, hold: Hold) -> None:
        await self._ask(protocol.Drop, hold.name, hold.token)

    # -- queues and operators --------------------------------------------------------------------

    async def configure(self, limits: Mapping[str, QueueLimits]) -> None:
        await self._ask(protocol.Configure, limits)

    async def expect(self, steps: Sequence[CountedStep]) -> None:
        await self._ask(protocol.Expect, steps)

    async def pause(self, queues: Sequence[str], paused: bool = True) -> None:
        await self._ask(protocol.Pause, queues, paused)

    async def stats(self) -> dict[str, QueueStats]:
        reply: protocol.Counts = await self._ask(protocol.Count)
        return reply.queues

    async def scan(
        self, queue: str, state: RowState, after: str = "", n: int = 100
    ) -> list[DeliveryRow]:
        reply: protocol.Rows = await self._ask(protocol.Scan, queue, state, after, n)
        return reply.rows

    async def find(self, delivery: str) -> DeliveryRow | None:
        reply: protocol.Rows = await self._ask(protocol.Find, delivery)
        return next(iter(reply.rows), None)

    async def result(self, delivery: str, wait: float = 0.0) -> Result | None:
        wait_ms = milliseconds("wait", wait)
        request = protocol.Await(self._store.next_call(), delivery, wait_ms)
        reply: protocol.Ended = await self._store.ask(request, wait=wait)
        return reply.result

    async def edit(self, ids: Sequence[str], op: Edit) -> int:
        reply: protocol.Affected = await self._ask(protocol.Alter, ids, op)
        return reply.number


class Embedded(StoreClient):
    """An engine whose store is another process of this platform.

    `path` is the store's socket; `owner` distinguishes this process from every other, now
    and earlier (`task.0@3:812`). A request that is not answered within `deadline` seconds fails
    with StoreUnavailable.
    """

    def __init__(self, path: Path, owner: str, *, deadline: float = 10.0) -> None:
        super().__init__(partial(StoreConnection, path, owner, deadline))

    async def acknowledge(self) -> list[str]:
        """Confirm that an operator knows of the damages to the file; return them."""
        reply: protocol.Damages = await self._ask(protocol.Acknowledge)
        return reply.whats

    async def restore(self, rows: Sequence[DeliveryRow]) -> int:
        """Keep deliveries and dead letters of another file, except those that were kept before;
        return how many were new."""
        reply: protocol.Affected = await self._ask(protocol.Restore, rows)
        return reply.number


def _batches(marks: Sequence[protocol.Mark]) -> Iterator[list[protocol.Mark]]:
    """Divide settlements into requests that are not too large, follow-ups included."""
    batch: list[protocol.Mark] = []
    size = 0
    for mark in marks:
        weight = len(mark.result) + len(mark.error)
        for envelope in mark.then:
            weight += len(envelope.body) + sum(map(len, envelope.headers.values()))
        if batch and size + weight > _LARGEST_BATCH:
            yield batch
            batch, size = [], 0
        batch.append(mark)
        size += weight
    yield batch
