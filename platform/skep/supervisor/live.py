"""A change that needs no new worker: ask everybody, put it in force, tell everybody.

ASKING ──nobody objects──► COMMITTING ──► TELLING ──everybody has it──► done
   │ an objection, or silence    │ the disk    │ an objection, or silence
   ▼                             ▼             ▼
a rollout with the same       refused       a rollout with the same configuration,
configuration decides                       which makes it whole
"""

import asyncio
from collections.abc import Callable

from skep.supervisor.child import Child
from skep.supervisor.configuration import Configuration
from skep.supervisor.effects import Effect, effects, without_rollout
from skep.supervisor.gate import Request
from skep.supervisor.generation import Generation
from skep.wire.messages import Change, Changed

# A worker whose loop is blocked keeps nobody waiting longer than this (seconds).
_PATIENCE = 2.0


def effects_on(generation: Generation, configuration: Configuration) -> list[Effect]:
    """Return what a configuration changes in a generation whose zygote has answered."""
    assert generation.plan is not None
    old = generation.configuration.environment
    new = configuration.environment
    return effects(old, new, configuration.layer_of, generation.plan)


def can_be_live(generation: Generation, configuration: Configuration, request: Request) -> bool:
    """Whether the workers of a generation may be able to take a configuration as they are."""
    if request.forced or generation.plan is None:
        return False
    same_code = request.code in ("", generation.plan.code)
    return same_code and without_rollout(effects_on(generation, configuration))


class LiveChange:
    """One change of the configuration of a generation. `commit` puts it in force on the disk,
    blocking."""

    def __init__(
        self,
        number: int,
        request: Request,
        generation: Generation,
        configuration: Configuration,
        commit: Callable[[Configuration], None],
    ) -> None:
        self.request = request
        self.configuration = configuration
        self._number = number
        self._generation = generation
        self._values = {e.key: e.new for e in effects_on(generation, configuration)}
        self._log_level = _new_log_level(generation.configuration, configuration)
        self._commit = commit
        self._loop = asyncio.get_running_loop()
        self._missing: set[Child] = set()
        self._objection = ""
        self._answered = asyncio.Event()
        self._started = self._loop.time()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._loop.time() - self._started

    async def carry_out(self) -> str:
        """Do it; return why it did not work, or nothing. Raises PlatformError when it cannot be
        put in force; then nothing was touched."""
        if objection := await self._round(apply=False):
            return objection
        await self._loop.run_in_executor(None, self._commit, self.configuration)
        return await self._round(apply=True)

    def answered(self, child: Child, answer: Changed) -> None:
        """A child has answered."""
        if answer.number == self._number and child in self._missing:
            if answer.objection and not self._objection:
                self._objection = f"{child.name}: {answer.objection}"
            self.gone(child)

    def gone(self, child: Child) -> None:
        """A child has answered or ended; whoever takes its place is born with the change."""
        self._missing.discard(child)
        self._answered.set()

    async def _round(self, *, apply: bool) -> str:
        """Send the change to everybody and wait for all answers; return the first objection."""
        generation = self._generation
        takers = (*generation.zygote.children, *generation.crew.children.values())
        self._missing, self._objection = set(takers), ""
        for child in list(self._missing):
            child.send(Change(self._number, self._values, apply, self._log_level))
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._missing:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            silent = ", ".join(sorted(child.name for child in self._missing))
            self._objection = self._objection or f"{silent} did not answer within {_PATIENCE:g} s."
        return self._objection


def _new_log_level(old: Configuration, new: Configuration) -> str:
    level = new.options.log_level
    return level if level != old.options.log_level else ""
