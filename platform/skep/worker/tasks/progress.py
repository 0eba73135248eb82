"""Progress of handlers: the latest value is sent to the engine a few times a second."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from skep.base.errors import EngineError
from skep.engine import binding
from skep.engine.contract import LARGEST_PROGRESS, Engine, Lease

# A handler may say it in every round of a loop; an operator looks now and then.
_EVERY = 0.2


class Progress:
    """Takes the progress of handlers, from any thread, and sends it to the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._latest: dict[str, tuple[Lease, str]] = {}
        self._sending: asyncio.Task[None] | None = None

    def note(self, lease: Lease, value: Any) -> None:
        """Note the progress of a lease. Raises TypeError or ValueError if it is not short JSON."""
        text = json.dumps(value, allow_nan=False)
        if len(text.encode()) > LARGEST_PROGRESS:
            raise ValueError(f"Progress is a note of at most {LARGEST_PROGRESS} bytes as JSON.")
        loop = binding.current().loop
        loop.call_soon_threadsafe(self._take, lease, text)

    def _take(self, lease: Lease, text: str) -> None:
        self._latest[lease.token] = (lease, text)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._latest:
            latest, self._latest = self._latest, {}
            for lease, text in latest.values():
                with suppress(EngineError):  # it is a note, and the next is on its way
                    await self._engine.progress(lease, text)
            await asyncio.sleep(_EVERY)
