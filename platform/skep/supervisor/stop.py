"""The end of a platform, in order: generations, agent and config server, store, zygotes."""

import asyncio
from collections.abc import Callable
from functools import partial

from skep.supervisor.platform_slots import PlatformSlots
from skep.supervisor.succession import Succession

# Whatever hangs is killed after the drain and this many seconds more.
_SLACK = 12.0
_LOOK = 0.01


class Stop:
    """Stops what runs; the store goes last of those that others need, because workers that drain
    still settle what they finish."""

    def __init__(
        self, succession: Succession, platform: PlatformSlots, living: Callable[[], bool]
    ) -> None:
        self._succession = succession
        self._platform = platform
        self._living = living

    async def carry_out(self, changed: Callable[[], None]) -> None:
        """Stop everything; `changed` is called after each step that sets deadlines."""
        succession, crew = self._succession, self._platform.crew
        drain = max((g.limits.drain for g in succession.generations.all), default=0.0)
        succession.stop()
        changed()
        if not await _until(lambda: not succession.generations.alive, drain + _SLACK):
            succession.generations.kill()
            await _until(lambda: not succession.generations.alive, 2.0)
        for slots in ({"agent.0", "configserver.0"}, {"store.0"}):
            crew.retire(slots)
            changed()
            await _until(partial(crew.children.keys().isdisjoint, slots), 5.0)
        crew.kill()
        succession.generations.end()
        await _until(lambda: not self._living(), 2.0)

    def at_once(self) -> None:
        """Kill what is left."""
        self._succession.generations.kill()
        self._platform.crew.kill()


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for what events bring about; say whether it came."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True
