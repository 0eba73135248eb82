"""What tests of all rooms share: waiting. The only place in tests that sleeps."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 10.0, interval: float = 0.01) -> T:
    """Return the first true value of `condition`; fail when there is none within `deadline` s."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], Awaitable[T] | T], deadline: float = 10.0, interval: float = 0.01
) -> T:
    """The same in an event loop; the condition may be a coroutine function."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        value = await found if isinstance(found, Awaitable) else found
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        await asyncio.sleep(interval)
