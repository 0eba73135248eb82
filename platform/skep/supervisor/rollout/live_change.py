"""A change that needs no new worker: ask everybody, put it in force, tell everybody.

ASKING ──nobody objects──► COMMITTING ──► TELLING ──everybody has it──► done
   │ an objection, or silence    │ the disk    │ an objection, or silence
   ▼                             ▼             ▼
a rollout with the same       refused       a rollout with the same configuration,
configuration decides                       which makes it whole
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from skep.supervisor.config.configuration import Configuration
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.rollout.decision import effects_on
from skep.supervisor.rollout.gate import Request
from skep.wire.messages import Change, Changed
from skep.wire.plan import Problem

# A worker whose loop is blocked keeps nobody waiting longer than this (seconds).
_PATIENCE = 2.0


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
        self.written_at = 0.0

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
        self.written_at = time.time()
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


@dataclass(frozen=True)
class Endings:
    """What is called at the end of a live change: one of these, once.

    `done` when everybody has it; `objected(change, objection)` when it takes a rollout after all;
    `refused(change, problem)` when it cannot be put in force.
    """

    done: Callable[[LiveChange], None]
    objected: Callable[[LiveChange, str], None]
    refused: Callable[[LiveChange, Problem], None]


class LiveChanges:
    """One live change at a time."""

    def __init__(self, commit: Callable[[Configuration], None], endings: Endings) -> None:
        self._commit = commit
        self._endings = endings
        self._number = 0
        self._change: LiveChange | None = None

    @property
    def busy(self) -> bool:
        """Whether one is going on."""
        return self._change is not None

    def begin(self, request: Request, generation: Generation, configuration: Configuration) -> None:
        """Begin to change the configuration of a generation."""
        self._number += 1
        self._change = LiveChange(self._number, request, generation, configuration, self._commit)
        self._task = asyncio.ensure_future(self._carry_out(self._change))

    def answered(self, child: Child, answer: Changed) -> None:
        """A child has answered."""
        if self._change is not None:
            self._change.answered(child, answer)

    def gone(self, child: Child) -> None:
        """A child has ended."""
        if self._change is not None:
            self._change.gone(child)

    async def _carry_out(self, change: LiveChange) -> None:
        try:
            objection = await change.carry_out()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next change has to begin
            self._change = None
            self._endings.refused(change, Problem("commit", str(error) or repr(error)))
            return
        self._change = None
        if objection:
            self._endings.objected(change, objection)
        else:
            self._endings.done(change)


def _new_log_level(old: Configuration, new: Configuration) -> str:
    level = new.options.log_level
    return level if level != old.options.log_level else ""
