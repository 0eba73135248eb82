"""The end of a platform, in order: generations, agent and config server, store, zygotes."""

from collections.abc import Awaitable, Callable
from functools import partial

from skep.base.waiting import until
from skep.supervisor.observers.hooks import HookCalls
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.rollouts import Rollouts

# What hangs is killed by its slot, after all its limits; this is for what even then does not end.
_SLACK = 1.0
# A platform slot, and what is left at last, has nothing of its own that takes long.
_SHORT = 5.0


class Stop:
    """Stops what runs; the store goes last of those that others need, because workers that drain
    still settle what they finish."""

    def __init__(self, rollouts: Rollouts, platform: PlatformSlots, hooks: HookCalls) -> None:
        self._hooks = hooks
        self._rollouts = rollouts
        self._platform = platform
        self._hurried = False

    async def carry_out(
        self, shut: Callable[[], Awaitable[None]], changed: Callable[[], None]
    ) -> None:
        """Stop everything; `shut` ends listening, and `changed` is called after each step that sets
        deadlines."""
        rollouts, crew = self._rollouts, self._platform.crew
        generations = rollouts.generations
        options = generations.options
        # Whoever distributes requests sees that it is not ready, and sends them elsewhere.
        await until(lambda: self._hurried, options.stop_delay)
        patience = options.stop_timeout or _patience(generations)
        if not self._hurried:
            await shut()
        rollouts.stop()
        changed()
        if not await until(lambda: not generations.alive, patience):
            generations.kill()
            await until(lambda: not generations.alive, _SHORT)
        if not self._hurried:
            await self._hooks.say_goodbye()
        for slots in ({"agent.0", "configserver.0"}, {"store.0"}):
            crew.retire(slots)
            changed()
            await until(partial(crew.children.keys().isdisjoint, slots), _SHORT)
        crew.kill()
        generations.end()
        self._platform.nursery.stop()
        await until(lambda: not self._platform.children, _SHORT)

    def at_once(self) -> None:
        """Kill what is left."""
        self._hurried = True
        self._rollouts.generations.kill()
        self._platform.crew.kill()


def _patience(generations: Generations) -> float:
    """How long the slowest of the workers may take, if it goes as far as it may."""
    limits = [generation.limits for generation in generations.all]
    return max((x.drain + x.stop + x.kill for x in limits), default=0.0) + _SLACK
