"""The engine of this process: what `deliver()` and `fire()` put their envelopes into."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from skep.base.errors import EngineError
from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.engine.contract import Engine, Envelope, Outcome
from skep.engine.embedded import Embedded
from skep.engine.ids import clock_ms, new_id

T = TypeVar("T")

_IN_A_COROUTINE = (
    "deliver_sync(), fire_sync() and push_sync() are for threads: "
    "in a coroutine, await deliver(), fire() or push()."
)
_FORKED = (
    "This process was forked from a worker, whose connection to the engine it cannot use: deliver "
    "and fire in the worker, or start the process with multiprocessing's method `spawn`."
)


@dataclass(frozen=True)
class Binding:
    """An open engine, the loop it was opened in, the names of each event's listeners, and the clock
    for delays.

    `declared` has every task and event of the plugins by its name; None where no plugins are
    loaded. `compares` says that every payload is compared with its decoded copy. `sender` is the
    sender of this process's envelopes.
    """

    engine: Engine
    telemetry: Telemetry
    listeners: Mapping[str, Sequence[str]]
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float] = clock_ms
    declared: Mapping[str, type] | None = None
    compares: bool = False
    sender: str = ""

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
            raise EngineError(_IN_A_COROUTINE)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()


# Module state, because an author's call can come from anywhere in the process: a handler, a thread,
# a library's callback. A process has one engine, bound once when it is open; nothing of it survives
# into a forked child, which binds its own.
_binding: Binding | None = None
_is_forked = False
# In a process that is not a worker: the connection to the store of each running event loop.
_visits: dict[
    asyncio.AbstractEventLoop, tuple[AsyncGenerator[Binding, None], asyncio.Future[Binding]]
] = {}


def bind(
    engine: Engine,
    telemetry: Telemetry,
    listeners: Mapping[str, Sequence[str]],
    clock: Callable[[], float] = clock_ms,
    declared: Mapping[str, type] | None = None,
    compares: bool = False,
    sender: str = "",
) -> None:
    """Make an open engine the engine of this process; called in the loop that opened it.

    `listeners` gives the names of the listeners of every event, in the order in which they run. For
    the others see `Binding`.
    """
    global _binding, _is_forked
    loop = asyncio.get_running_loop()
    _binding = Binding(engine, telemetry, listeners, loop, clock, declared, compares, sender)
    _is_forked = False


def unbind() -> None:
    global _binding
    _binding = None


def clock() -> Callable[[], float]:
    """Return the clock of this process's engine, or that of the machine."""
    return clock_ms if _binding is None else _binding.clock


def sender() -> str:
    """Return the sender of this process's envelopes."""
    return "" if _binding is None else _binding.sender


def declared() -> Mapping[str, type] | None:
    """Return the tasks and events that the plugins of this process declare, if any are loaded."""
    return None if _binding is None else _binding.declared


def compares() -> bool:
    """Return whether every payload is compared with its decoded copy."""
    return _binding is not None and _binding.compares


def is_bound() -> bool:
    """Return whether this process is a worker, which has an engine of its own."""
    return _binding is not None


def current() -> Binding:
    """Return the engine of this worker. Raises EngineError in any other process."""
    if _binding is None:
        raise EngineError(_FORKED if _is_forked else "This process is not a worker.")
    return _binding


async def reach() -> Binding:
    """Return the engine of this worker; in another process, a connection to the store of the
    platform in PLATFORM_DATA_DIR, which lasts as long as the running event loop.

    Raises EngineError when that is not set, or in a process that was forked from a worker, and
    StoreUnavailable when no store answers there.
    """
    if _binding is not None:
        return _binding
    loop = asyncio.get_running_loop()
    if (visit := _visits.get(loop)) is None:
        connection = _connection(Embedded(run_dir().store_socket, f"script/{new_id()}"))
        visit = _visits[loop] = connection, asyncio.ensure_future(anext(connection))
    return await asyncio.shield(visit[1])


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that uses the engine and wait for its result: in the worker's loop, from any
    other thread of it; elsewhere in a loop of its own.

    Raises EngineError in a coroutine, which would wait for itself.
    """
    if _binding is not None:
        return _binding.wait_for(coroutine)
    if asyncio._get_running_loop() is not None or _is_forked:
        coroutine.close()
        raise EngineError(_FORKED if _is_forked else _IN_A_COROUTINE)
    return asyncio.run(coroutine)


def run_dir() -> RunDir:
    """Return the data directory in PLATFORM_DATA_DIR, for a process that is not a worker.

    Raises EngineError when none is set, or when the process was forked from a worker.
    """
    if _is_forked:
        raise EngineError(_FORKED)
    try:
        return RunDir(os.environ["PLATFORM_DATA_DIR"])
    except KeyError:
        raise EngineError(
            "This process is not a worker of a platform: set PLATFORM_DATA_DIR to the data "
            "directory of a running one to deliver and fire from here."
        ) from None


async def _connection(engine: Embedded) -> AsyncGenerator[Binding, None]:
    """Yield an open engine. `asyncio.run` closes the generator, and so the engine, when its loop
    ends."""
    loop = asyncio.get_running_loop()
    try:
        await engine.open()
        yield Binding(engine, Telemetry(), {}, loop)
    finally:
        _visits.pop(loop, None)
        await engine.close()


def _be_forked() -> None:
    global _binding, _is_forked
    _is_forked = _is_forked or _binding is not None
    _binding = None
    _visits.clear()


os.register_at_fork(after_in_child=_be_forked)
