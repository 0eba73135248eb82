"""What many tests need."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 5.0, interval: float = 0.01) -> T:
    """Return the first true value of `condition`; AssertionError when there is none in time."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not so after {deadline} s: the last value is {value!r}"
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], Awaitable[T]], deadline: float = 5.0, interval: float = 0.01
) -> T:
    """Do what `wait_until` does, in a loop, for a condition that is a coroutine function."""
    end = time.monotonic() + deadline
    while not (value := await condition()):
        assert time.monotonic() < end, f"not so after {deadline} s: the last value is {value!r}"
        await asyncio.sleep(interval)
    return value
