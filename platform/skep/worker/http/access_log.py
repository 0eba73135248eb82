"""A line per request, written by a thread; the request itself only appends to a list."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from skep.base.logs import log as logs

log = logging.getLogger("skep.access")

_EVERY = 0.25
# What a stream that takes no more may keep in memory; then lines are lost, and counted.
_MOST = 20_000


class AccessLog:
    """Collects answered requests and writes them four times a second."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, dict[str, Any]]] = []
        self._lost = 0

    def note(self, **answered: Any) -> None:
        """Remember the fields of an answered request; `seconds` counts from its head to its end."""
        if len(self._waiting) < _MOST:
            self._waiting.append((time.time(), answered))
        else:
            self._lost += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write while the block lasts, and the rest at its end."""
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

    def _taken(self) -> tuple[list[tuple[float, dict[str, Any]]], int]:
        taken, self._waiting = self._waiting, []
        lost, self._lost = self._lost, 0
        return taken, lost


def _write(answered: list[tuple[float, dict[str, Any]]], lost: int) -> None:
    for moment, fields in answered:
        text = f"{fields['method']} {fields['path']} {fields['status']}"
        record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)
        record.created = moment
        with logs.bound(**{**fields, "seconds": round(fields["seconds"], 6)}):
            log.handle(record)
    if lost:
        log.warning("%d requests were not logged: the log was too slow", lost)
