"""What tests of all rooms share: waiting. The only place in tests that sleeps."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 10.0, interval: float = 0.01) -> T:
    """Return the first true value of `condition`; fail when there is none within `deadline` s."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        time.sleep(interval)
    return value


@overload
async def wait_until_async(
    condition: Callable[[], Awaitable[T]], deadline: float = ..., interval: float = ...
) -> T: ...


@overload
async def wait_until_async(
    condition: Callable[[], T], deadline: float = ..., interval: float = ...
) -> T: ...


async def wait_until_async(
    condition: Callable[[], Any], deadline: float = 10.0, interval: float = 0.01
) -> Any:
    """The same in an event loop; the condition may be a coroutine function."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        await asyncio.sleep(interval)
