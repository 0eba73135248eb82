"""What tests of all rooms share. Here, and nowhere else, tests wait."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 5.0, interval: float = 0.01) -> T:
    """Return the condition's value once it is true; AssertionError with the last one otherwise."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"still {value!r} after {deadline} s"
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], T], deadline: float = 5.0, interval: float = 0.01
) -> T:
    """Do the same without holding up the event loop."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"still {value!r} after {deadline} s"
        await asyncio.sleep(interval)
    return value
