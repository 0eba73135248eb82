"""Wait for what events bring about."""

import asyncio
from collections.abc import Callable

_LOOK = 0.01


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so, no longer than so many seconds; say whether it came to that."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True
