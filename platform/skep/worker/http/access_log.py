"""A line per request, written by a thread: a request does no more than append to a list."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from skep.base.logs import log as logs

log = logging.getLogger("skep.access")

_EVERY = 0.25
# What a stream that takes no more may keep in memory; then lines are lost, and counted.
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Access:
    """One answered request. `seconds` is the time from its head to the end of the answer."""

    method: str
    path: str
    status: int
    seconds: float
    client: str
    request_id: str


class AccessLog:
    """Gathers what was answered and writes it four times a second."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Access]] = []
        self._lost = 0

    def note(self, access: Access) -> None:
        """Remember one, to be written soon."""
        if len(self._waiting) < _MOST:
            self._waiting.append((time.time(), access))
        else:
            self._lost += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write while the block lasts, and what is left at its end."""
        writing = asyncio.create_task(self._run())
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait({writing})
            _write(*self._taken())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            if self._waiting or self._lost:
                # Not given up half-way by a cancellation: a thread cannot be.
                await asyncio.shield(asyncio.to_thread(_write, *self._taken()))

    def _taken(self) -> tuple[list[tuple[float, Access]], int]:
        taken, self._waiting = self._waiting, []
        lost, self._lost = self._lost, 0
        return taken, lost


def _write(answered: list[tuple[float, Access]], lost: int) -> None:
    for moment, access in answered:
        text = f"{access.method} {access.path} {access.status}"
        record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)
        record.created = moment
        with logs.bound(
            status=access.status,
            method=access.method,
            path=access.path,
            seconds=round(access.seconds, 6),
            client=access.client,
            request_id=access.request_id,
        ):
            log.handle(record)
    if lost:
        log.warning("%d requests were not logged: the log was too slow", lost)
