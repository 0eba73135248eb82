"""The inline engine: the same contract in the memory of one process, with a clock to be set.

For tests of plugins: nothing survives the process. Several clients share one Memory, as several
processes share a store.
"""

import asyncio
from collections.abc import Mapping, Sequence

from skep.base.errors import EngineError
from skep.engine import protocol
from skep.engine.base import (
    Cancellation,
    Edit,
    Envelope,
    Hold,
    Lease,
    Limits,
    Outcome,
    QueueStats,
    Result,
    Row,
    RowState,
    Settlement,
    check_progress,
)
from skep.engine.ids import milliseconds, new_id
from skep.engine.memory import Memory


class Inline:
    """A client of a Memory, its own if none is given; `owner` tells it from the others."""

    def __init__(self, memory: Memory | None = None, owner: str = "inline") -> None:
        self.memory = memory or Memory()
        self._owner = owner
        self._flagged: asyncio.Queue[list[str]] | None = None

    async def open(self) -> None:
        """Be able to do all the rest."""
        self._flagged = asyncio.Queue()
        self.memory.came(self._owner, self._flagged.put_nowait)

    async def close(self) -> None:
        """Give back, uncounted, what is leased and not settled."""
        if self._flagged is not None:
            self._flagged = None
            self.memory.left(self._owner, lost=False)

    # -- deliveries ------------------------------------------------------------------------------

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Keep the envelopes; see Engine."""
        protocol.checked_frame(protocol.Put(0, envelopes))
        return self._here().put(envelopes)

    async def lease(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait for something ready; see Engine."""
        while not (leases := self._here().take(self._owner, queues, n)):
            await self.memory.changed(self.memory.next_wake())
        return leases

    async def extend(self, leases: Sequence[Lease]) -> list[bool]:
        """Say which leases are held; nothing else is needed within one process."""
        return [self._here().holding(lease) is not None for lease in leases]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End the leases; see Engine."""
        return self._here().settle(settlements)

    async def progress(self, lease: Lease, value: str) -> bool:
        """Note how far it has come; see Engine."""
        check_progress(value)
        item = self._here().holding(lease)
        if item is not None:
            item.progress = value
        return item is not None

    async def reap(self, owner: str) -> int:
        """Take back what a dead client holds; see Engine."""
        return self._here().left(owner, lost=True)

    # -- cancelling ------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[str]) -> list[Cancellation]:
        """Have deliveries not happen; see Engine."""
        protocol.checked_frame(protocol.Cancel(0, ids))
        found = [self._here().cancel(delivery) for delivery in ids]
        self.memory.touch()
        return found

    async def cancelled(self) -> list[str]:
        """Wait until deliveries are cancelled that are held here; see Engine."""
        self._here()
        assert self._flagged is not None
        return await self._flagged.get()

    # -- the leader ------------------------------------------------------------------------------

    async def hold(self, name: str, ttl: int, token: str = "") -> Hold | None:
        """Hold a name; see Engine."""
        token = token or new_id()
        protocol.checked_frame(protocol.Grasp(0, name, token, ttl))
        return self._here().hold(name, ttl, token)

    async def drop(self, hold: Hold) -> None:
        """Hold it no longer."""
        self._here().drop(hold)

    # -- queues and operators --------------------------------------------------------------------

    async def configure(self, limits: Mapping[str, Limits]) -> None:
        """Let these queues have these limits; see Engine."""
        protocol.checked_frame(protocol.Configure(0, limits))
        self._here().configure(limits)

    async def pause(self, queues: Sequence[str], paused: bool = True) -> None:
        """Hand nothing out of these queues, or go on with it."""
        protocol.checked_frame(protocol.Pause(0, queues, paused))
        self._here().pause(queues, paused)

    async def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue; see Engine."""
        return self._here().stats()

    async def scan(self, queue: str, state: RowState, after: str = "", n: int = 100) -> list[Row]:
        """Return rows of a queue; see Engine."""
        protocol.checked_frame(protocol.Scan(0, queue, state, after, n))
        place = int(after) if after.isdecimal() else 0
        found = sorted(self._here().of(queue, (state,)), key=lambda item: item.seq)
        return [item.row() for item in found if item.seq > place][:n]

    async def find(self, delivery: str) -> Row | None:
        """Return one delivery; see Engine."""
        protocol.checked_frame(protocol.Find(0, delivery))
        item = self._here().find(delivery)
        return None if item is None else item.row()

    async def result(self, delivery: str, wait: float = 0.0) -> Result | None:
        """Return how a delivery has ended; see Engine. The wait is by the loop's clock."""
        protocol.checked_frame(protocol.Await(0, delivery, milliseconds("wait", wait)))
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while (result := self._here().result(delivery)) is None:
            left = end - loop.time()
            if left <= 0 or delivery not in self.memory.items:
                return None
            await self.memory.changed(left)
        return result

    async def edit(self, ids: Sequence[str], op: Edit) -> int:
        """Change deliveries by hand; see Engine."""
        protocol.checked_frame(protocol.Change(0, ids, op))
        changed = sum(self._here().edit(delivery, op) for delivery in ids)
        self.memory.touch()
        return changed

    def _here(self) -> Memory:
        if self._flagged is None:
            raise EngineError("The engine is not open: nothing can be delivered or leased here.")
        return self.memory
