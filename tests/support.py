"""What tests of several rooms share. The only place in tests that sleeps."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 5.0, interval: float = 0.01) -> T:
    """Return the first true value of the condition; AssertionError after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"after {deadline:g} s it is still {value!r}"
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], T], deadline: float = 5.0, interval: float = 0.01
) -> T:
    """Do the same and let the loop go on meanwhile."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"after {deadline:g} s it is still {value!r}"
        await asyncio.sleep(interval)
    return value
