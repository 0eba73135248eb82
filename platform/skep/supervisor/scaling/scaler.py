"""Keeps the generation in service at its scaling: scaling it, and replacing workers that ask."""

import logging
from collections.abc import Callable, Iterable, Mapping

from skep.config.options.queues import own_workers
from skep.config.options.table import Options
from skep.supervisor.generation import Generation
from skep.supervisor.processes import crash_budget as budgets
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.crash_budget import Budget
from skep.supervisor.processes.crew import Crew
from skep.supervisor.processes.slot import SlotState, Succession
from skep.supervisor.scaling import recycling as pure
from skep.supervisor.scaling.recycling import Recycling
from skep.wire.messages import Retire
from skep.wire.plan import Plan

log = logging.getLogger("skep")

# A worker that was ready for this long is more than a flicker.
_HELD = 5.0
# Any other word that a worker retires with is counted as its age.
_WHYS = frozenset({"max_requests", "max_memory", "max_age", "task_timeout", "reload"})


class Scaler:
    """Works on whatever generation `current()` is. `hopeless(why)` is called when its web workers,
    or a required process, have been crashing for too long.

    A number that an operator has set holds through reloads, until the configuration has
    another one than it had.
    """

    def __init__(
        self, current: Callable[[], Generation | None], hopeless: Callable[[str], None]
    ) -> None:
        self._current = current
        self._hopeless = hopeless
        self._look_again = 0.0
        self._by_hand: dict[str, int] = {}
        self._recycling = Recycling()
        self._crew: Crew | None = None
        self.drained = False
        self.ended = False

    def counts(self, generation: Generation) -> dict[str, int]:
        """Return how many workers of each pool there are to be."""
        options, plan = generation.configuration.options, generation.plan or Plan()
        processes = {one.pool: one.num for one in generation.processes}
        counts = {**_configured(options), "cron": 1, **processes, **self._by_hand}
        kinds = set(plan.kinds).intersection(options.kinds_here)
        return {p: count for p, count in counts.items() if p.partition(".")[0] in kinds}

    def wanted(self, generation: Generation) -> tuple[str, ...]:
        """Return the slots of a generation that begins."""
        counts = self.counts(generation)
        return tuple(f"{kind}.{i}" for kind, count in counts.items() for i in range(count))

    def scale(self, kind: str, count: int) -> None:
        """Set the number of workers of a kind."""
        self._by_hand[kind] = count
        self.rescale()

    def configured(self, old: Options, new: Options) -> None:
        """The configuration is another: a number that it changes replaces the one set by hand."""
        before, now = _configured(old), _configured(new)
        for pool in now:
            if before.get(pool) != now[pool]:
                self._by_hand.pop(pool, None)

    def rescale(self) -> None:
        """Fill or retire slots until the numbers are as wanted."""
        generation = self._current()
        if generation is None or generation.plan is None or self.drained or self.ended:
            return
        self._recycling, orders = pure.rescale(
            self._of(generation.crew), generation.crew.slots, self.counts(generation)
        )
        self._obey(generation, orders, dict.fromkeys(orders.fill, "scale"))

    def asked(self, child: Child, retire: Retire) -> None:
        """A worker wants to be replaced."""
        generation = self._current()
        if generation is None or generation.crew.children.get(child.slot) is not child:
            return
        self.replace(generation.crew, [child], retire)

    def replace(self, crew: Crew, children: Iterable[Child], why: Retire) -> None:
        """Replace these workers of the generation in service."""
        for child in children:
            detail = f": {why.detail}" if why.detail else ""
            log.info("%s retires (%s%s)", child.name, why.reason, detail)
            child.retires = why.reason if why.reason in _WHYS else "max_age"
            slot = crew.slots.get(child.slot)
            if slot is None:
                continue
            if slot.kind == "process":  # its number is its own: the next one has the same slot
                crew.restart([child.slot])
            elif slot.terms.succession is Succession.BESIDE:  # others only a rollout replaces
                self._recycling = pure.asked(self._of(crew), child.slot)
        self.look(crew)

    def call_off(self, crew: Crew, slots: Iterable[str]) -> None:
        """Let the workers in these slots stay, if they have no successor that is ready."""
        if crew is not self._crew:
            return  # they are on their way out, with their generation
        self._recycling, orders = pure.call_off(self._recycling, slots)
        crew.retire(orders.retire)

    def is_successor(self, child: Child) -> bool:
        """Whether an old worker retires when this one is ready."""
        return child.slot in self._recycling.busy

    def look(self, crew: Crew) -> None:
        """See what can be done now that a slot of a crew has changed."""
        generation = self._current()
        if generation is None or generation.crew is not crew or self.drained or self.ended:
            return
        self._recycling, orders = pure.advance(self._of(crew), crew.slots)
        whys = {
            new: crew.children[old].retires
            for old, new in self._recycling.successors.items()
            if new in orders.fill and old in crew.children
        }
        self._obey(generation, orders, whys)

    def drain(self) -> None:
        """Drain every worker; the slots stay empty until `undrain`."""
        self.drained = True
        self._recycling = Recycling()
        self.catch_up()

    def catch_up(self) -> None:
        """Apply `drain` and `scale` to the generation in service, which was on its way when they
        were asked for."""
        if self.drained and (generation := self._current()) is not None:
            generation.crew.retire()
        self.rescale()

    def undrain(self) -> None:
        """Fill the slots again."""
        self.drained = False
        self.rescale()

    def end(self) -> None:
        """Stop filling slots: the platform stops and would not wait for new workers."""
        self.ended = True

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called next."""
        if (generation := self._current()) is None:
            return None
        due = min(self._hopeless_at(generation).values(), default=None)
        return None if due is None else max(due, self._look_again)

    def expire(self, now: float) -> None:
        """Give up if the web workers, or a required process, have crashed for too long or will not
        be started again."""
        generation, deadline = self._current(), self.deadline
        if generation is None or deadline is None or now < deadline:
            return
        self._look_again = now + _HELD
        crew = generation.crew
        for group, due in self._hopeless_at(generation).items():
            held = (s.since for s in crew.slots.values() if s.group == group and s.since)
            if due <= now and all(now - since < _HELD for since in held):
                budget = crew.budgets.get(group, Budget())
                crashes = budgets.sentence(group, budget, crew.slots, now)
                self._hopeless(crashes or f"{group} is required and is not started again")
                return

    def _hopeless_at(self, generation: Generation) -> dict[str, float]:
        """Return, for each group that the platform is of no use without and that does not hold,
        when it is given up."""
        crew, give_up = generation.crew, generation.configuration.options.give_up
        found: dict[str, float] = {}
        for slot in crew.slots.values():
            if slot.kind != "web" and not (slot.kind == "process" and slot.terms.vital):
                continue
            spent = crew.budgets.get(slot.group, Budget()).spent
            if slot.state is SlotState.FAILED:
                # A rollback, or a rollout that is on its way, may mend it.
                found[slot.group] = slot.began + _HELD
            elif spent is not None and give_up:
                found[slot.group] = spent + give_up
        return found

    def _of(self, crew: Crew) -> Recycling:
        """What goes on in this crew; of the one before nothing has to be known any more."""
        if crew is not self._crew:
            self._crew, self._recycling = crew, Recycling()
        return self._recycling

    def _obey(self, generation: Generation, orders: pure.Orders, whys: Mapping[str, str]) -> None:
        generation.fill(orders.fill, released=True, whys=whys)
        generation.crew.retire(orders.retire)


def _configured(options: Options) -> dict[str, int]:
    own = {f"task.{queue}": count for queue, count in own_workers(options.queues).items()}
    return {"web": options.web_count, "task": options.task_count, **own}
