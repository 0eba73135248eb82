"""A change that needs no new worker: ask all workers, write it, have all workers apply it.

ASKING ──no objection──► COMMITTING ──► APPLYING ──all workers have it──► done
   │ an objection, or silence    │ the disk    │ an objection, or silence
   ▼                             ▼             ▼
a rollout with the same       refused       a rollout with the same configuration,
configuration decides                       which makes it whole
"""

import asyncio
import time
from collections.abc import Callable

from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.generation import Generation
from skep.supervisor.processes.questions import Questions
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.decision import changes_on
from skep.wire.messages import Change, Changed
from skep.wire.plan import Problem

# How long to wait for a worker whose loop is blocked, in seconds.
_PATIENCE = 2.0


class LiveChange:
    """One change of the configuration of a generation."""

    def __init__(
        self, request: RolloutRequest, generation: Generation, configuration: Configuration
    ) -> None:
        self.request = request
        self.generation = generation
        self.configuration = configuration
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.written_at = 0.0

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._loop.time() - self._started


class LiveChanges:
    """One live change at a time. At its end one of these is called, once: `done(change)` when every
    worker has it, `objected(change, objection)` when it takes a rollout after all, `refused(change,
    problem)` when it cannot be applied."""

    def __init__(
        self,
        configurations: Configurations,
        questions: Questions,
        *,
        done: Callable[[LiveChange], None],
        objected: Callable[[LiveChange, str], None],
        refused: Callable[[LiveChange, Problem], None],
    ) -> None:
        self._configurations = configurations
        self._questions = questions
        self._done = done
        self._objected = objected
        self._refused = refused
        self._task: asyncio.Future[None] | None = None
        self.busy = False

    def begin(
        self, request: RolloutRequest, generation: Generation, configuration: Configuration
    ) -> None:
        """Begin to change the configuration of a generation."""
        self.busy = True
        change = LiveChange(request, generation, configuration)
        self._task = asyncio.ensure_future(self._carry_out(change))

    async def _carry_out(self, change: LiveChange) -> None:
        problem, objection = None, ""
        try:
            objection = await self._ask(change, apply=False)
            if not objection:
                problem = await self._configurations.apply(change.configuration)
            if not objection and problem is None:
                change.written_at = time.time()
                objection = await self._ask(change, apply=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next change has to begin
            problem = Problem("commit", str(error) or repr(error))
        self.busy = False
        if problem is not None:
            self._refused(change, problem)
        elif objection:
            self._objected(change, objection)
        else:
            self._done(change)

    async def _ask(self, change: LiveChange, *, apply: bool) -> str:
        generation, level = change.generation, _new_log_level(change)
        values = {e.key: e.new for e in changes_on(generation, change.configuration)}
        takers = (*generation.zygote.children, *generation.crew.children.values())
        answers, silent = await self._questions.ask(
            takers, lambda number: Change(number, values, apply, level), _PATIENCE
        )
        # A zygote that ends may have a successor without the change; a new worker has it.
        silent |= {child for child in takers if child.is_forker} - answers.keys()
        for child, answer in answers.items():
            if isinstance(answer, Changed) and answer.objection:
                return f"{child.name}: {answer.objection}"
        names = ", ".join(sorted(child.name for child in silent))
        return f"{names} did not answer within {_PATIENCE:g} s." if names else ""


def _new_log_level(change: LiveChange) -> str:
    old, new = change.generation.configuration.options, change.configuration.options
    return new.log_level if new.log_level != old.log_level else ""
