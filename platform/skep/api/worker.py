"""The worker that plugin code runs in."""

from dataclasses import dataclass
from typing import ClassVar, Optional

from skep.base.errors import PlatformError


@dataclass(frozen=True)
class Worker:
    """A worker: the process that fills a slot in a generation.

    Its name, `web.0@3`, is the one in logs, in `ps` and in `platform status`.
    """

    slot: str
    generation: int

    _current: ClassVar[Optional["Worker"]] = None

    @property
    def name(self) -> str:
        """The slot and the generation, as everywhere: `web.0@3`."""
        return f"{self.slot}@{self.generation}"

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
