"""The way from generation N to N+1, or back.

    PLANNING ──Planned──► PREPARING ──all Prepared──► COMMITTING ──Committed──► GOING
        │                     │                           │                       │ all Accepting,
        │ Denied, Late        │ Denied, Lost, Late        │ Denied                │ or Late, enough
        ▼                     ▼                           ▼                       ▼
     REFUSED ◄────────────────┴───────────────────────────┘                 HANDING_OVER
        ▲                                                                         │ all HandedOver,
        └── GOING, Late and a kind of which no worker accepts (the old ones       │ or Late
            have not been told to go yet)                                         ▼
                                                                              FINISHED

Up to the commit nothing of the old generation is touched. Old and new both accept for a moment
(GOING), so that no connection is refused; of *singletons* (cron, custom processes) the old one has
stopped before the new one goes. Rule: every transition is in `step`, and `step` depends on nothing
but its arguments.
"""

from dataclasses import dataclass, replace
from enum import Enum

from skep.wire.plan import Problem

SINGLETONS = frozenset({"cron", "process"})
# How long an old singleton may take to say that it schedules nothing more.
HANDOVER_TIMEOUT = 2.0


class Phase(Enum):
    """How far a rollout is."""

    PLANNING = "planning"
    PREPARING = "preparing"
    COMMITTING = "committing"
    GOING = "going"
    HANDING_OVER = "handing over"
    FINISHED = "finished"
    REFUSED = "refused"


@dataclass(frozen=True)
class Planned:
    """The zygote has loaded everything; these slots are wanted."""

    slots: tuple[str, ...]


@dataclass(frozen=True)
class Denied:
    """The generation cannot come up."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Prepared:
    """A new worker is prepared."""

    slot: str


@dataclass(frozen=True)
class Lost:
    """A new worker has ended before it was told to go."""

    slot: str
    problem: Problem


@dataclass(frozen=True)
class Committed:
    """The new configuration is in force."""


@dataclass(frozen=True)
class Accepting:
    """A new worker accepts."""

    slot: str


@dataclass(frozen=True)
class HandedOver:
    """The old worker of a singleton slot takes nothing more, or is gone."""

    slot: str


@dataclass(frozen=True)
class Late:
    """The deadline has passed."""


Fact = Planned | Denied | Prepared | Lost | Committed | Accepting | HandedOver | Late


class Act(Enum):
    """What the shell has to do."""

    FORK = "fork the workers in these slots"
    COMMIT = "put the configuration in force"
    RELEASE = "tell the new workers in these slots to go"
    RETIRE = "tell the old workers of all kinds that overlap to drain"
    HAND_OVER = "tell the old workers in these slots to drain"
    CUT = "kill the old workers in these slots"
    FINISH = "the new generation is the current one"
    REFUSE = "do away with the new generation; if it was committed, put the old config in force"


@dataclass(frozen=True)
class Order:
    """An act, and what it is about."""

    act: Act
    slots: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollout:
    """One rollout. `done` are the slots that have said what this phase waits for."""

    boot: float
    go: float
    phase: Phase = Phase.PLANNING
    deadline: float | None = None
    slots: tuple[str, ...] = ()
    done: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def overlapping(self) -> tuple[str, ...]:
        """The slots of which old and new accept side by side."""
        return tuple(s for s in self.slots if _kind(s) not in SINGLETONS)

    @property
    def singletons(self) -> tuple[str, ...]:
        """The slots that are handed over."""
        return tuple(s for s in self.slots if _kind(s) in SINGLETONS)

    @property
    def over(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.phase in (Phase.FINISHED, Phase.REFUSED)


def begin(boot: float, go: float, now: float) -> Rollout:
    """Return a rollout whose zygote has just been started; `boot` and `go` are in seconds."""
    return Rollout(boot=boot, go=go, deadline=now + boot)


def step(rollout: Rollout, fact: Fact, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    """Take one fact; return the rollout as it then is, and the orders to obey, in order."""
    match rollout.phase, fact:
        case Phase.PLANNING, Planned(slots):
            rollout = replace(_to(rollout, Phase.PREPARING, now + rollout.boot), slots=slots)
            return rollout, (Order(Act.FORK, slots),)
        case Phase.PREPARING, Prepared(slot):
            return _prepared(_count(rollout, slot))
        case Phase.COMMITTING, Committed():
            rollout = _to(rollout, Phase.GOING, now + rollout.go)
            return rollout, (Order(Act.RELEASE, rollout.overlapping),)
        case Phase.GOING, Accepting(slot):
            return _accepting(_count(rollout, slot), now)
        case Phase.HANDING_OVER, HandedOver(slot) if slot in rollout.singletons:
            return _handed_over(_count(rollout, slot), (Order(Act.RELEASE, (slot,)),))
        case _, Late():
            return _late(rollout, now)
        case ((Phase.PLANNING | Phase.PREPARING | Phase.COMMITTING), Denied(problems)):
            return _refuse(rollout, problems)
        case Phase.PREPARING, Lost(_, problem):
            return _refuse(rollout, (problem,))
        case _:
            return rollout, ()


def _kind(slot: str) -> str:
    return slot.partition(".")[0]


def _to(rollout: Rollout, phase: Phase, deadline: float | None) -> Rollout:
    return replace(rollout, phase=phase, deadline=deadline, done=frozenset())


def _count(rollout: Rollout, slot: str) -> Rollout:
    return replace(rollout, done=rollout.done | {slot})


def _prepared(rollout: Rollout) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.slots):
        return rollout, ()
    # No deadline: whether the disk takes the file is known when it is known.
    return _to(rollout, Phase.COMMITTING, None), (Order(Act.COMMIT),)


def _accepting(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.overlapping):
        return rollout, ()
    return _hand_over(rollout, now)


def _hand_over(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    rollout = _to(rollout, Phase.HANDING_OVER, now + HANDOVER_TIMEOUT)
    orders = (Order(Act.RETIRE), Order(Act.HAND_OVER, rollout.singletons))
    return _handed_over(rollout, orders)


def _handed_over(rollout: Rollout, orders: tuple[Order, ...]) -> tuple[Rollout, tuple[Order, ...]]:
    if not rollout.done >= set(rollout.singletons):
        return rollout, orders
    return _to(rollout, Phase.FINISHED, None), (*orders, Order(Act.FINISH))


def _refuse(rollout: Rollout, problems: tuple[Problem, ...]) -> tuple[Rollout, tuple[Order, ...]]:
    rollout = replace(_to(rollout, Phase.REFUSED, None), problems=problems)
    return rollout, (Order(Act.REFUSE),)


def _late(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    match rollout.phase:
        case Phase.PLANNING:
            return _refuse(rollout, (_too_slow("load", f"Loading took over {rollout.boot:g} s"),))
        case Phase.PREPARING:
            missing = ", ".join(sorted(set(rollout.slots) - rollout.done))
            text = f"{missing} took over {rollout.boot:g} s to be prepared"
            return _refuse(rollout, (_too_slow("prepare", text),))
        case Phase.GOING:
            return _half_gone(rollout, now)
        case Phase.HANDING_OVER:
            rest = tuple(s for s in rollout.singletons if s not in rollout.done)
            orders = (Order(Act.CUT, rest), Order(Act.RELEASE, rest), Order(Act.FINISH))
            return _to(rollout, Phase.FINISHED, None), orders
        case _:
            return rollout, ()


def _half_gone(rollout: Rollout, now: float) -> tuple[Rollout, tuple[Order, ...]]:
    """Not all accept in time. A kind with one that does can go on: the others are restarted like
    any that crash. A kind with none would be an outage, and the old generation still accepts."""
    silent = {_kind(s) for s in rollout.overlapping} - {_kind(s) for s in rollout.done}
    if not silent:
        return _hand_over(rollout, now)
    kinds = " and ".join(sorted(silent))
    text = f"No {kinds} worker accepted within {rollout.go:g} s after the commit"
    return _refuse(rollout, (_too_slow("go", text),))


def _too_slow(stage: str, text: str) -> Problem:
    return Problem(stage, f"{text}.")
