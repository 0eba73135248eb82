"""What the workers of the generations say, and that they end, told to whom it concerns."""

from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.exit_reason import describe, named
from skep.supervisor.processes.slot import Fact
from skep.supervisor.rollout import machine
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.live_change import LiveChanges
from skep.supervisor.rollout.surroundings import Surroundings
from skep.supervisor.rollout.watch import Watch
from skep.supervisor.scaling.scaler import Upkeep
from skep.wire.messages import (
    Accepting,
    Beat,
    Changed,
    Failed,
    HandedOver,
    Message,
    Prepared,
    Retire,
)
from skep.wire.plan import Problem


class Hearing:
    """Hears every worker of every generation."""

    def __init__(
        self,
        generations: Generations,
        around: Surroundings,
        live: LiveChanges,
        upkeep: Upkeep,
        watch: Watch,
    ) -> None:
        self._generations = generations
        self._around = around
        self._live = live
        self._upkeep = upkeep
        self._watch = watch

    def told(self, child: Child, message: Message, descriptors: list[int]) -> None:
        """A worker has said something."""
        self._around.told(child, message, descriptors)
        generation = self._generations.of(child)
        if generation is None:
            return
        match message:
            case Prepared() | Accepting():
                self._came_up(generation, child, message)
            case Failed(problem):
                child.problem = problem
            case HandedOver(state):
                self._generations.handed_over(generation, child.slot, state)
            case Retire():
                self._upkeep.asked(child, message)
            case Changed():
                self._live.answered(child, message)
            case Beat():
                child.unready, child.trouble = message.unready, message.trouble
                generation.crew.feed(child.slot, Fact.BEAT)
        self._watch.look()

    def ended(self, child: Child) -> None:
        """A worker is gone."""
        self._around.census.ended(child)
        self._live.gone(child)
        generation = self._generations.of(child)
        if generation is not None and generation.crew.ended(child):
            self._lost(generation, child)

    def _came_up(self, generation: Generation, child: Child, message: Prepared | Accepting) -> None:
        if isinstance(message, Prepared):
            generation.crew.feed(child.slot, Fact.PREPARED)
            self._generations.tell(generation, machine.Prepared(child.slot))
        else:
            generation.crew.feed(child.slot, Fact.ACCEPTING)
            self._generations.tell(generation, machine.Accepting(child.slot))

    def _lost(self, generation: Generation, child: Child) -> None:
        """One that had been born leaves its place."""
        problem = child.problem or Problem("prepare", f"{child.name} {describe(child.status)}.")
        self._generations.tell(generation, machine.Lost(child.slot, named(child, problem)))
        self._generations.handed_over(generation, child.slot, {})
        self._generations.tell_alone(child.slot)
        if generation is self._generations.current:
            self._watch.ended(generation, child)
        self._watch.look()
        self._generations.sweep(kept=self._watch.former)
