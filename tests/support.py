"""What tests of all rooms share: waiting. The only place in tests that sleeps."""

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import accumulate, repeat
from typing import Any, TypeVar, overload

from skep.engine.contract import Engine

T = TypeVar("T")
# How many seconds a test waits for what has to come: not how long it may take, but when to give up.
# A machine that does ten other things is slow.
PATIENCE = 25.0


def wait_until(condition: Callable[[], T], deadline: float = PATIENCE, interval: float = 0.01) -> T:
    """Return the first true value of `condition`; fail when there is none within `deadline` s.

    `interval` is the first pause between two looks; the pauses grow to four times that.
    """
    end = time.monotonic() + deadline
    pauses = _pauses(interval)
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        time.sleep(next(pauses))
    return value


def _pauses(first: float) -> Iterator[float]:
    """A look costs CPU time here and in the platform, and what takes longer may be seen later."""
    return accumulate(repeat(first), lambda pause, _: min(pause * 1.3, first * 4))


@overload
async def wait_until_async(
    condition: Callable[[], Awaitable[T]], deadline: float = ..., interval: float = ...
) -> T: ...


@overload
async def wait_until_async(
    condition: Callable[[], T], deadline: float = ..., interval: float = ...
) -> T: ...


async def wait_until_async(
    condition: Callable[[], Any], deadline: float = PATIENCE, interval: float = 0.01
) -> Any:
    """The same in an event loop; the condition may be a coroutine function."""
    end = time.monotonic() + deadline
    pauses = _pauses(interval)
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s; the last value was {value!r}"
        await asyncio.sleep(next(pauses))


def free_port() -> int:
    """Return a free port that the kernel gives to no process that asks for any port: a test that
    binds it later, or again, would otherwise find it taken."""
    below_ephemeral = range(20_000, 32_000)
    while True:
        port = random.choice(below_ephemeral)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


async def wait_settled(engine: Engine, deadline: float = PATIENCE) -> None:
    """Wait until nothing is left in any queue: a handler ends before its worker has reported that
    to the store."""

    async def settled() -> bool:
        return not await engine.stats()

    await wait_until_async(settled, deadline)
