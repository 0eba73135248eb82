"""Settle leases in batches: what arrives while the store is busy is settled together."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence

from skep.base.backoff import Backoff
from skep.base.errors import StoreFull, StoreUnavailable
from skep.engine.contract import Engine, Settlement

log = logging.getLogger(__name__)

_BACKOFF = Backoff(first=0.5, factor=2.0, cap=10.0, jitter=0.2)


class Settler:
    """Settles leases in the order given, while `work` runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: list[tuple[Settlement, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def settle(self, settlement: Settlement, tell: Callable[[], None]) -> None:
        """Settle a lease, then call `tell`, unless the lease was lost in the meantime."""
        self._waiting.append((settlement, tell))
        self._idle.clear()
        self._wake.set()

    async def wait_until_idle(self) -> None:
        """Return when every lease given is settled."""
        await self._idle.wait()

    async def work(self) -> None:
        """Settle for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            accepted = await self._insist([settlement for settlement, _ in batch])
            for (settlement, tell), counts in zip(batch, accepted, strict=True):
                if counts:
                    tell()
                else:
                    _log_lost(settlement)
            if not self._waiting:
                self._idle.set()

    async def _insist(self, settlements: Sequence[Settlement]) -> list[bool]:
        for n in itertools.count(1):
            try:
                return await self._engine.settle(settlements)
            except (StoreUnavailable, StoreFull) as error:
                log.warning("%d finished tasks wait to be settled: %s", len(settlements), error)
                await asyncio.sleep(_BACKOFF.delay(n))
        raise AssertionError("unreachable")


def _log_lost(settlement: Settlement) -> None:
    envelope = settlement.lease.envelope
    log.warning(
        "The lease of %s %s was lost while it ran, so this run does not count: "
        "it runs again, or has already.",
        envelope.name,
        envelope.id,
    )
