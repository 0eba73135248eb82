"""The worker that plugin code runs in."""

import asyncio
from dataclasses import dataclass, field
from typing import ClassVar, Optional

from skep.base.errors import PlatformError


@dataclass(frozen=True)
class Worker:
    """A worker: the process that fills a slot in a generation.

    Its name, `web.0@3`, is the one in logs, in `ps` and in `platform status`.
    """

    slot: str
    generation: int
    _drain: asyncio.Event = field(default_factory=asyncio.Event, repr=False, compare=False)

    _current: ClassVar[Optional["Worker"]] = None

    @property
    def name(self) -> str:
        """The slot and the generation, as everywhere: `web.0@3`."""
        return f"{self.slot}@{self.generation}"

    @property
    def draining(self) -> bool:
        """Whether this worker is being replaced or stopped: it accepts nothing new, and what still
        runs should end, an endless stream of events above all."""
        return self._drain.is_set()

    async def wait_draining(self) -> None:
        """Return when the worker begins to drain."""
        await self._drain.wait()

    def begin_drain(self) -> None:
        """Mark this worker as draining; for the platform and for tests."""
        self._drain.set()

    @classmethod
    def current(cls) -> "Worker":
        """Return the worker this code runs in. Raises PlatformError outside of one."""
        if cls._current is None:
            raise PlatformError("Worker.current() works inside the workers of a platform only.")
        return cls._current

    @classmethod
    def become(cls, slot: str, generation: int) -> "Worker":
        """Make this process that worker; for the platform and for tests."""
        cls._current = cls(slot, generation)
        return cls._current
