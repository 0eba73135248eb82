"""Identifiers of deliveries, and the clock they are made with."""

import math
import os
import time
from collections.abc import Callable

_RANDOM_BITS = 74
_VARIANT = 0b10 << 62
LONGEST_DELAY = 100 * 365 * 86400


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Return a UUIDv7 in hex (RFC 9562, 5.7): 48 bits of milliseconds, then 74 random bits.

    The random bits are the kernel's, so that processes forked from one another never make the same.
    """
    random = int.from_bytes(os.urandom(10), "big") >> (80 - _RANDOM_BITS)
    high, low = random >> 62, random & (1 << 62) - 1
    return f"{now_ms() << 80 | 7 << 76 | high << 64 | _VARIANT | low:032x}"


def check_delay(seconds: float, name: str = "delay") -> None:
    """Raise ValueError when this is not a number of seconds between 0 and a hundred years."""
    if not is_delay(seconds):
        raise ValueError(
            f"{name} is {seconds!r}: it must be a number of seconds between 0 and a hundred years."
        )


def is_delay(value: object) -> bool:
    """Return whether this is a number of seconds between 0 and a hundred years."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= LONGEST_DELAY  # type: ignore[operator]


def milliseconds(name: str, seconds: float) -> int:
    """Return the seconds as whole milliseconds, rounded up. Raises what `check_delay` raises."""
    check_delay(seconds, name)
    return math.ceil(seconds * 1000)


def clock_ms() -> float:
    """Return the milliseconds since the epoch, and what part of the next has gone by."""
    return time.time() * 1000


def due_after(seconds: float, clock: Callable[[], float] = clock_ms) -> int:
    """Return the first millisecond that is not earlier than `seconds` from now; 0 for no delay.

    Raises ValueError when it is not a delay.
    """
    check_delay(seconds)
    return math.ceil(clock() + seconds * 1000) if seconds else 0
