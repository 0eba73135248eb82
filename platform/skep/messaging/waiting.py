"""Wait for a descriptor: in an event loop, or in a thread.

What sends and receives is written once, as a generator: it tries, and yields a `Wait` when the
kernel cannot take or give anything now. It is sent whether the descriptor was ready in time.
"""

import asyncio
import select
import time
import weakref
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """For this descriptor to take bytes (`is_writing`) or to have some, until the monotonic time
    `end`; None is for ever."""

    descriptor: int
    is_writing: bool
    end: float | None = None


Steps = Generator[Wait, bool, T]
_Waiters = dict[tuple[int, bool], deque[asyncio.Future[bool]]]

# Several tasks of a loop may wait for one descriptor, for which a loop calls one function only.
_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiters]
_loops = weakref.WeakKeyDictionary()


async def run(steps: Steps[T]) -> T:
    """Run a generator in the running event loop; return what it returns."""
    try:
        wait = next(steps)
        while True:
            wait = steps.send(await _is_ready(wait))
    except StopIteration as end:
        found: T = end.value
        return found
    finally:
        steps.close()


def run_blocking(steps: Steps[T]) -> T:
    """Run a generator in this thread; return what it returns."""
    try:
        wait = next(steps)
        while True:
            wait = steps.send(_is_ready_blocking(wait))
    except StopIteration as end:
        found: T = end.value
        return found
    finally:
        steps.close()


def forget(descriptor: int) -> None:
    """Wake the tasks of this loop that wait for a descriptor that is about to be closed."""
    loop = asyncio._get_running_loop()
    for is_writing in (False, True):
        waiters = _loops.get(loop, {}).get((descriptor, is_writing), ()) if loop else ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(True)
        if loop and waiters:
            _unwatch(loop, (descriptor, is_writing))


async def _is_ready(wait: Wait) -> bool:
    loop = asyncio.get_running_loop()
    if wait.end is not None and wait.end <= time.monotonic():
        return False
    waiter: asyncio.Future[bool] = loop.create_future()
    key = wait.descriptor, wait.is_writing
    waiters = _watched(loop, key)
    waiters.append(waiter)
    timer = None
    if wait.end is not None:
        timer = loop.call_later(wait.end - time.monotonic(), _expire, waiter)
    try:
        return await waiter
    finally:
        if timer is not None:
            timer.cancel()
        with suppress(ValueError):
            waiters.remove(waiter)
        if not waiters and _loops[loop].get(key) is waiters:
            _unwatch(loop, key)


def _watched(loop: asyncio.AbstractEventLoop, key: tuple[int, bool]) -> deque[asyncio.Future[bool]]:
    known = _loops.setdefault(loop, {})
    if (waiters := known.get(key)) is None:
        waiters = deque()
        watch = loop.add_writer if key[1] else loop.add_reader
        watch(key[0], _wake_one, waiters)
        known[key] = waiters
    return waiters


def _unwatch(loop: asyncio.AbstractEventLoop, key: tuple[int, bool]) -> None:
    del _loops[loop][key]
    (loop.remove_writer if key[1] else loop.remove_reader)(key[0])


def _wake_one(waiters: deque[asyncio.Future[bool]]) -> None:
    """Wake the one that has waited longest; the loop calls again while the descriptor is ready."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(True)
            return


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)


def _is_ready_blocking(wait: Wait) -> bool:
    poll = select.poll()
    poll.register(wait.descriptor, select.POLLOUT if wait.is_writing else select.POLLIN)
    if wait.end is None:
        return bool(poll.poll())
    # Rounded up: a wait of nothing would be asked for again and again until the end.
    rest = max(0.0, wait.end - time.monotonic())
    return bool(poll.poll(int(rest * 1000) + 1))
