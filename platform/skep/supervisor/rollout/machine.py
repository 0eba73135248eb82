"""The way from generation N to N+1, or back.

    PLANNING ──PlanReady──► PREPARING ──all prepared──► COMMITTING ──Committed──► GOING
       │                        │                          │                        │ all accept,
       │ Denied, Late           │ Denied, SlotLost, Late   │ Denied                 │ or Late
       ▼                        ▼                          ▼                        ▼
    REFUSED ◄───────────────────┴──────────────────────────┘                 HANDING_OVER
       ▲                                                                            │ all handed
       └── GOING, and no worker of some kind accepts: Late, or SlotLost             │ over, or Late
           several times (the old ones still serve)                                 ▼
                                                                                 FINISHED

Up to the commit nothing of the old generation is touched. Old and new both accept for a moment
(GOING), so that no connection is refused; of *singletons* (cron, custom processes) the old one has
stopped before the new one goes. A custom process may take its time to stop: the rollout ends
without it, and the new one goes when the old one has ended. A custom process that is not required
holds nothing up after the commit. A worker that is lost before the commit refuses the rollout. From
the commit on its slot is kept: it is started again like any that crashes, and the rollout waits for
it. Workers of a refused generation that may have accepted something drain. Rule: every transition
is in `step`, and `step` depends on nothing but its arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from skep.supervisor.processes.slot import SlotTerms, Succession, group_of, ordinary
from skep.wire.plan import Problem

# How long an old singleton may take to hand over, and how long an old custom process is awaited.
HANDOVER_TIMEOUT = 2.0
# After so many losses of one slot, none of whose kind accepts, another try would be the same.
LOSSES = 3


class RolloutPhase(Enum):
    """How far a rollout is."""

    PLANNING = "planning"
    PREPARING = "preparing"
    COMMITTING = "committing"
    GOING = "going"
    HANDING_OVER = "handing over"
    FINISHED = "finished"
    REFUSED = "refused"


@dataclass(frozen=True)
class PlanReady:
    """The zygote has loaded everything; these slots are wanted, on these terms."""

    slots: tuple[str, ...]
    terms: Mapping[str, SlotTerms] = field(default_factory=dict)


@dataclass(frozen=True)
class Ordered:
    """The listeners are bound, and the workers are on their way."""


@dataclass(frozen=True)
class Denied:
    """The generation cannot come up."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class SlotPrepared:
    """A new worker is prepared."""

    slot: str


@dataclass(frozen=True)
class SlotLost:
    """A new worker has ended."""

    slot: str
    problem: Problem


@dataclass(frozen=True)
class Committed:
    """The new configuration is applied."""


@dataclass(frozen=True)
class SlotAccepting:
    """A new worker accepts."""

    slot: str


@dataclass(frozen=True)
class SlotHandedOver:
    """The old worker of a singleton slot takes nothing more, or is gone; a custom process has to be
    gone."""

    slot: str


@dataclass(frozen=True)
class Late:
    """The deadline has passed."""


Fact = (
    PlanReady
    | Ordered
    | Denied
    | SlotPrepared
    | SlotLost
    | Committed
    | SlotAccepting
    | SlotHandedOver
    | Late
)


class Act(Enum):
    """What the shell has to do."""

    FORK = "fork the workers in these slots"
    COMMIT = "apply the configuration, and fill the slots again from now on"
    RELEASE = "tell the new workers in these slots to go"
    RETIRE = "tell the old workers of all kinds that overlap to drain"
    HAND_OVER = "tell the old workers in these slots to drain"
    CUT = "kill the old workers in these slots"
    FINISH = "the new generation is the current one"
    REFUSE = "end the new generation; if it was committed, apply the old configuration"


@dataclass(frozen=True)
class Order:
    """An act, and what it is about."""

    act: Act
    slots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollout:
    """One rollout. `done` are the slots that have said what this phase waits for; `lost` are those
    whose worker has ended since the commit, once for each time; `extended` is whether the deadline
    was moved for them."""

    boot: float
    go: float
    phase: RolloutPhase = RolloutPhase.PLANNING
    deadline: float | None = None
    slots: tuple[str, ...] = ()
    terms: Mapping[str, SlotTerms] = field(default_factory=dict)
    done: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    lost: tuple[str, ...] = ()
    extended: bool = False

    @property
    def overlapping(self) -> tuple[str, ...]:
        """The slots whose old and new workers accept side by side."""
        return tuple(s for s in self.slots if self.of(s).succession is Succession.BESIDE)

    @property
    def awaited(self) -> tuple[str, ...]:
        """Those of them whose new workers have to accept before the old ones drain."""
        return tuple(s for s in self.overlapping if self.of(s).vital)

    @property
    def singletons(self) -> tuple[str, ...]:
        """The slots that are handed over."""
        return tuple(s for s in self.slots if self.of(s).succession is not Succession.BESIDE)

    def of(self, slot: str) -> SlotTerms:
        """Return the terms of a slot."""
        return self.terms.get(slot) or ordinary(slot)

    @property
    def over(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.phase in (RolloutPhase.FINISHED, RolloutPhase.REFUSED)


def begin(boot: float, go: float, now: float) -> Rollout:
    """Return a rollout whose zygote has just been started; `boot` and `go` are in seconds."""
    return Rollout(boot=boot, go=go, deadline=now + boot)


def step(rollout: Rollout, fact: Fact, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    """Take one fact; return the rollout as it then is, and the orders to obey, in order."""
    match rollout.phase, fact:
        case RolloutPhase.PLANNING, PlanReady(slots, terms):
            rollout = _to(rollout, RolloutPhase.PREPARING, now + rollout.boot)
            rollout = replace(rollout, slots=slots, terms=terms)
            return rollout, (Order(Act.FORK, slots),)
        case RolloutPhase.PREPARING, Ordered():
            return _prepared(rollout)  # there may be no worker to wait for
        case RolloutPhase.PREPARING, SlotPrepared(slot):
            return _prepared(_count(rollout, slot))
        case RolloutPhase.COMMITTING, Committed():
            rollout = _to(rollout, RolloutPhase.GOING, now + rollout.go)
            return _accepting(rollout, (Order(Act.RELEASE, rollout.overlapping),), now)
        case RolloutPhase.GOING, SlotAccepting(slot):
            return _accepting(_count(rollout, slot), (), now)
        case RolloutPhase.HANDING_OVER, SlotHandedOver(slot) if slot in rollout.singletons:
            return _handed_over(_count(rollout, slot), (Order(Act.RELEASE, (slot,)),))
        case _, Late():
            return _late(rollout, now)
        case (
            (RolloutPhase.PLANNING | RolloutPhase.PREPARING | RolloutPhase.COMMITTING),
            Denied(problems),
        ):
            return _refuse(rollout, problems)
        case RolloutPhase.PREPARING, SlotLost(_, problem):
            return _refuse(rollout, (problem,))
        case ((RolloutPhase.COMMITTING | RolloutPhase.GOING), SlotLost(slot, problem)):
            return _lost(rollout, slot, problem)
        case _:
            return rollout, ()


def _to(rollout: Rollout, phase: RolloutPhase, deadline: float | None) -> Rollout:
    return replace(rollout, phase=phase, deadline=deadline, done=frozenset())


def _count(rollout: Rollout, slot: str) -> Rollout:
    return replace(rollout, done=rollout.done | {slot})


def _prepared(rollout: Rollout) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.slots):
        return rollout, ()
    # No deadline: whether the disk takes the file is known when it is known.
    return _to(rollout, RolloutPhase.COMMITTING, None), (Order(Act.COMMIT),)


def _accepting(
    rollout: Rollout, orders: tuple[Order, ...], now: float
) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.awaited):
        return rollout, orders
    rollout, more = _hand_over(rollout, now)
    return rollout, (*orders, *more)


def _lost(rollout: Rollout, slot: str, problem: Problem) -> tuple[Rollout, tuple[Order, ...]]:
    """A worker has ended since the commit, and is started again. That cannot go on for ever."""
    rollout = replace(rollout, done=rollout.done - {slot}, lost=(*rollout.lost, slot))
    hopeless = rollout.lost.count(slot) >= LOSSES and group_of(slot) in _silent(rollout)
    if rollout.phase is RolloutPhase.GOING and hopeless:
        return _refuse(rollout, (problem,))
    return rollout, ()


def _hand_over(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    rollout = _to(rollout, RolloutPhase.HANDING_OVER, now + HANDOVER_TIMEOUT)
    orders = (Order(Act.RETIRE), Order(Act.HAND_OVER, rollout.singletons))
    return _handed_over(rollout, orders)


def _handed_over(rollout: Rollout, orders: tuple[Order, ...]) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.singletons):
        return rollout, orders
    return _to(rollout, RolloutPhase.FINISHED, None), (*orders, Order(Act.FINISH))


def _refuse(rollout: Rollout, problems: tuple[Problem, ...]) -> tuple[Rollout, tuple[Order, ...]]:
    rollout = replace(_to(rollout, RolloutPhase.REFUSED, None), problems=problems)
    return rollout, (Order(Act.REFUSE),)


def _late(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    match rollout.phase:
        case RolloutPhase.PLANNING:
            return _refuse(rollout, (_too_slow("load", f"Loading took over {rollout.boot:g} s"),))
        case RolloutPhase.PREPARING:
            missing = ", ".join(sorted(set(rollout.slots) - rollout.done))
            text = f"{missing} took over {rollout.boot:g} s to be prepared"
            return _refuse(rollout, (_too_slow("prepare", text),))
        case RolloutPhase.GOING:
            return _half_gone(rollout, now)
        case RolloutPhase.HANDING_OVER:
            waits = [s for s in rollout.singletons if s not in rollout.done]
            rest = tuple(s for s in waits if rollout.of(s).succession is Succession.HANDOVER)
            orders = (Order(Act.CUT, rest), Order(Act.RELEASE, rest), Order(Act.FINISH))
            return _to(rollout, RolloutPhase.FINISHED, None), orders
        case _:
            return rollout, ()


def _half_gone(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    """Not all accept in time. A kind with one that does can go on: the others are restarted like
    any that crash. A kind with none would be an outage, and the old generation still accepts: wait
    once for workers that are being started again, and refuse then."""
    silent = _silent(rollout)
    if not silent:
        return _hand_over(rollout, now)
    if not rollout.extended and silent & {group_of(slot) for slot in rollout.lost}:
        return replace(rollout, deadline=now + rollout.boot, extended=True), ()
    kinds = " and ".join(sorted(silent))
    seconds = rollout.go + rollout.boot * rollout.extended
    text = f"No {kinds} worker accepted within {seconds:g} s after the commit"
    return _refuse(rollout, (_too_slow("go", text),))


def _silent(rollout: Rollout) -> set[str]:
    return {group_of(s) for s in rollout.awaited} - {group_of(s) for s in rollout.done}


def _too_slow(stage: str, text: str) -> Problem:
    return Problem(stage, f"{text}.")
