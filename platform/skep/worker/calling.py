"""Call authors' functions, plain or async."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from types import AsyncGeneratorType, GeneratorType
from typing import Any


async def completed(value: Any) -> Any:
    """Return the value of a call, awaited if it is awaitable.

    An `async def` behind a plain decorator looks like a plain function until its call returns a
    coroutine. Raises TypeError for a generator, which has not run.
    """
    while inspect.isawaitable(value):
        value = await value
    if isinstance(value, GeneratorType | AsyncGeneratorType):
        name = value.__qualname__
        if isinstance(value, GeneratorType):
            value.close()
        raise TypeError(f"{name} returned a generator: it has a `yield`, so none of it has run.")
    return value


async def in_own_thread(function: Callable[[], Any], name: str) -> Any:
    """Call a function in a thread of its own; return or raise what it does. When this is cancelled
    the thread goes on, and ends with the process."""
    value, error = await call_in_own_thread(function, name)
    if error is not None:
        raise error
    return value


def call_in_own_thread(
    function: Callable[[], Any], name: str
) -> asyncio.Future[tuple[Any, BaseException | None]]:
    """Call a function in a thread of its own; the future has what it returned, and what it raised.

    Not in a pool: calls that hang could take all its threads, and the interpreter would wait for
    them at exit.
    """
    loop = asyncio.get_running_loop()
    # What was raised travels as a value: a future does not take a StopIteration, and a task that
    # raises SystemExit ends the event loop.
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((value, error))

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = function()
        except BaseException as raised:  # noqa: BLE001 - it travels in the future
            error = raised
        # The loop may be closed by now: the process ends without waiting for this thread.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, value, error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()
    return done
