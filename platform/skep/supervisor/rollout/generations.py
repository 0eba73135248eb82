"""The generations that live: the current one, one that is coming, those that are retiring."""

from skep.base.system.exit_status import describe
from skep.config.options.table import Options
from skep.supervisor.generation import Generation
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.exit_reason import named
from skep.supervisor.processes.slot import Succession
from skep.supervisor.rollout.execution import Execution
from skep.supervisor.rollout.machine import Fact, SlotHandedOver, SlotLost
from skep.wire.messages import Alone
from skep.wire.plan import Problem


class Generations:
    """Which generations there are; `rollouts.py` decides how one follows another."""

    def __init__(self) -> None:
        self.current: Generation | None = None
        self.coming: Execution | None = None
        self.retiring: list[Generation] = []

    @property
    def all(self) -> list[Generation]:
        """Every generation that still has processes, the oldest first."""
        coming = [self.coming.generation] if self.coming else []
        current = [self.current] if self.current else []
        return [*self.retiring, *current, *coming]

    @property
    def options(self) -> Options:
        """The options of the generation in service; before there is one, the defaults."""
        return self.current.configuration.options if self.current else Options()

    @property
    def living(self) -> list[int]:
        """The numbers of the generations that accept, or will."""
        living = [self.coming.generation.number] if self.coming else []
        if self.current is not None and not (self.coming and self.coming.replaces):
            living.append(self.current.number)
        return living

    @property
    def alive(self) -> bool:
        """Whether any worker of any generation lives."""
        return any(generation.crew.children for generation in self.all)

    @property
    def patience(self) -> float:
        """How many seconds the slowest worker may take to end, if it goes as far as it may, and
        then the slowest custom process."""
        longest = {False: 0.0, True: 0.0}
        for generation in self.all:
            limits = [(False, generation.limits.drain, generation.limits)]
            limits += [
                (name.startswith("process."), slot.terms.drain or slot.limits.drain, slot.limits)
                for name, slot in generation.crew.slots.items()
            ]
            # A worker that hangs is killed by its slot, after all its limits; the rest is slack.
            for is_process, drain, x in limits:
                longest[is_process] = max(longest[is_process], drain + x.stop + x.kill)
        return sum(longest.values()) + 1.0

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next."""
        times = [generation.crew.deadline for generation in self.all]
        times += [self.coming.rollout.deadline if self.coming else None]
        return min((t for t in times if t is not None), default=None)

    def expire(self, now: float) -> None:
        """Carry out the deadlines that have passed."""
        if self.coming is not None:
            self.coming.expire(now)
        for generation in self.all:
            generation.crew.expire(now)

    def kill(self) -> None:
        """End all workers at once."""
        for generation in self.all:
            generation.crew.kill()

    def end(self) -> None:
        """End the zygotes; there are no workers any more."""
        for generation in self.all:
            generation.zygote.stop()

    def of(self, child: Child) -> Generation | None:
        """Return the generation whose worker this is."""
        for generation in self.all:
            if generation.crew.children.get(child.slot) is child:
                return generation
        return None

    def tell(self, generation: Generation, fact: Fact) -> None:
        """Feed the rollout a fact, if it is about the generation that is coming."""
        if self.coming is not None and self.coming.generation is generation:
            self.coming.feed(fact)

    def handed_over(self, generation: Generation, slot: str, state: dict[str, object]) -> None:
        """The worker in a slot takes nothing more; notify the rollout if it replaces that one. One
        whose successor waits for its end still goes on."""
        if self.coming is None or self.coming.old is not generation:
            return
        if self.coming.rollout.of(slot).succession is not Succession.AFTER:
            self.coming.handed_over(slot, state)

    def handover(self, child: Child) -> dict[str, object]:
        """Return what the worker before this one in its slot left for it."""
        if self.coming is not None and self.coming.generation.number == child.generation:
            return self.coming.handovers.pop(child.slot, {})
        return {}

    def lost(self, generation: Generation, child: Child) -> None:
        """A worker is gone: notify the rollout."""
        problem = child.problem or Problem("prepare", f"{child.name} {describe(child.status)}.")
        self.tell(generation, SlotLost(child.slot, named(child, problem)))
        self.handed_over(generation, child.slot, {})
        self.tell_alone(child.slot)
        if child.kind == "process":
            self._let_successor_go(child.slot)

    def occupied(self, slot: str, but: Generation | None) -> bool:
        """Return whether a worker of any generation but one is in a slot."""
        return any(slot in g.crew.children for g in self.all if g is not but)

    def tell_alone(self, slot: str) -> None:
        """Let the only worker in a slot know that it is that, if slots like it are handed over."""
        there = [g for g in self.all if slot in g.crew.children]
        if len(there) == 1 and there[0].terms(slot).succession is Succession.HANDOVER:
            there[0].crew.children[slot].send(Alone())

    def _let_successor_go(self, slot: str) -> None:
        """Let the worker of the generation in service, or of the one that comes, go: the one before
        it has ended."""
        if self.coming is not None and not self.occupied(slot, self.coming.generation):
            self.coming.feed(SlotHandedOver(slot))
        if self.current is not None and not self.occupied(slot, self.current):
            self.current.crew.release([slot])

    def sweep(self, kept: Generation | None) -> None:
        """Forget generations without a worker; the zygote of the `kept` one lives on."""
        for generation in list(self.retiring):
            if generation.crew.gone:
                self.retiring.remove(generation)
                if generation is not kept:
                    generation.zygote.stop()
