"""Wait for a condition that other tasks of the event loop bring about."""

import asyncio
from collections.abc import Callable

_LOOK = 0.01


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds, for so many seconds at most; return whether it does."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True
