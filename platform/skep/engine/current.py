"""The engine of this process: what `deliver()` and `fire()` put their envelopes into."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from skep.base.errors import EngineError
from skep.base.telemetry import Telemetry
from skep.engine.base import Engine, Envelope, Outcome
from skep.engine.ids import clock_ms

T = TypeVar("T")


@dataclass(frozen=True)
class Binding:
    """An open engine, the loop it was opened in, the names of each event's listeners, and the clock
    by which delays are reckoned.

    `declared` has every task and event of the plugins by its name; None where no plugins are
    loaded. `compares` says that every payload has to be compared with what it comes back as.
    """

    engine: Engine
    telemetry: Telemetry
    listeners: Mapping[str, Sequence[str]]
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float] = clock_ms
    declared: Mapping[str, type] | None = None
    compares: bool = False

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Put envelopes, all or none; they are durable when this returns.

        Raises EngineError outside of the engine's own loop.
        """
        if asyncio.get_running_loop() is not self.loop:
            raise EngineError(
                "deliver() and fire() belong to the worker's own event loop: "
                "use deliver_sync() or fire_sync() in another."
            )
        return await self.engine.put(envelopes) if envelopes else []

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the engine's loop, from any other thread, and wait for its result.

        Raises EngineError in the loop's own thread, which would wait for itself.
        """
        if asyncio._get_running_loop() is self.loop:
            coroutine.close()
            raise EngineError(
                "deliver_sync(), fire_sync() and push_sync() are for threads: "
                "in a coroutine, await deliver(), fire() or push()."
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


# Module state, because an author's call can come from anywhere in the process: a handler, a thread,
# a library's callback. A process has one engine, bound once when it is open; nothing of it survives
# into a forked child, which binds its own.
_binding: Binding | None = None


def bind(
    engine: Engine,
    telemetry: Telemetry,
    listeners: Mapping[str, Sequence[str]],
    clock: Callable[[], float] = clock_ms,
    declared: Mapping[str, type] | None = None,
    compares: bool = False,
) -> None:
    """Make an open engine that of this process; called in the loop that opened it.

    `listeners` gives the names of the listeners of every event, in the order in which they run.
    """
    global _binding
    loop = asyncio.get_running_loop()
    _binding = Binding(engine, telemetry, listeners, loop, clock, declared, compares)


def unbind() -> None:
    """Have no engine any more."""
    global _binding
    _binding = None


def clock() -> Callable[[], float]:
    """Return the clock of this process's engine, or that of the machine."""
    return clock_ms if _binding is None else _binding.clock


def declared() -> Mapping[str, type] | None:
    """Return the tasks and events that the plugins of this process declare, if any are loaded."""
    return None if _binding is None else _binding.declared


def compares() -> bool:
    """Return whether every payload has to be compared with what it comes back as."""
    return _binding is not None and _binding.compares


def is_bound() -> bool:
    """Say whether this process has an engine."""
    return _binding is not None


def binding() -> Binding:
    """Return the engine of this process. Raises EngineError when it has none."""
    if _binding is None:
        raise EngineError(
            "deliver() and fire() work inside the platform's workers: this process has no engine."
        )
    return _binding
