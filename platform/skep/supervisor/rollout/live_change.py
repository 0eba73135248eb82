"""A change that needs no new worker: ask all workers, write it, have all workers apply it.

ASKING ──no objection──► COMMITTING ──► APPLYING ──all workers have it──► done
   │ an objection, or silence    │ the disk    │ an objection, or silence
   ▼                             ▼             ▼
a rollout with the same       refused       a rollout with the same configuration,
configuration decides                       which makes it whole
"""

import time
from dataclasses import dataclass, field

from skep.supervisor.config.configuration import Configuration, Configurations
from skep.supervisor.generation import Generation
from skep.supervisor.processes.questions import Questions
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.decision import changes_on
from skep.wire.messages import Change, Changed
from skep.wire.plan import Problem

# How long to wait for a worker whose loop is blocked, in seconds.
_PATIENCE = 2.0


@dataclass
class LiveChange:
    """One change of the configuration of a generation."""

    request: RolloutRequest
    generation: Generation
    configuration: Configuration
    written_at: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._started

    async def carry_out(
        self, configurations: Configurations, questions: Questions
    ) -> Problem | str:
        """Return the problem when it cannot be applied, the objection when it takes a rollout after
        all, and an empty text when every worker has it."""
        try:
            if objection := await self._ask(questions, apply=False):
                return objection
            if (problem := await configurations.apply(self.configuration)) is not None:
                return problem
            self.written_at = time.time()
            return await self._ask(questions, apply=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next change has to begin
            return Problem("commit", str(error) or repr(error))

    async def _ask(self, questions: Questions, *, apply: bool) -> str:
        generation, level = self.generation, self._new_log_level()
        values = {e.key: e.new for e in changes_on(generation, self.configuration)}
        takers = (*generation.zygote.children, *generation.crew.children.values())
        answers, silent = await questions.ask(
            takers, lambda number: Change(number, values, apply, level), _PATIENCE
        )
        # A zygote that ends may have a successor without the change; a new worker has it.
        silent |= {child for child in takers if child.is_forker} - answers.keys()
        for child, answer in answers.items():
            if isinstance(answer, Changed) and answer.objection:
                return f"{child.name}: {answer.objection}"
        names = ", ".join(sorted(child.name for child in silent))
        return f"{names} did not answer within {_PATIENCE:g} s." if names else ""

    def _new_log_level(self) -> str:
        old, new = self.generation.configuration.options, self.configuration.options
        return new.log_level if new.log_level != old.log_level else ""
