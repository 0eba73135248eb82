"""The life of one slot: a place that must always be filled.

                  FILL                  PREPARED             RELEASE
    EMPTY ───────────────► STARTING ───────────────► PREPARED ───────► GOING
      ▲                       │ EXITED, LATE                            │ ACCEPTING
      │ LATE                  ▼                                         ▼
    BACKOFF ◄───────────── an exit unasked for      ◄───────────────  READY ◄─┐ BEAT
                            ▲                                           │  └──┘
                            │ EXITED      LATE (silent, slow to boot)   │
                          HUNG ◄────────────────────────────────────────┤
                                                RETIRE from any state   ▼
                         GONE ◄──────── CUT ◄───────────────────── DRAINING
                                EXITED        LATE      EXITED ─► GONE

A worker that is late is first asked to end in a way that tells something: one that hangs by ABORT,
which writes down its stacks, one that drains for too long by TERMINATE, which also reaches what it
has started. Late again after `kill`, it is killed.

A slot that is not kept (its generation is not committed) is not filled again when its process
ends: that is the rollout's affair. From the commit on it is kept: a worker that ends is replaced,
also one that was not released yet. Rule: every transition is in `step`, and `step` depends on
nothing but its arguments. Times are seconds of one monotonic clock.
"""

from dataclasses import dataclass, replace
from enum import Enum

from skep.base.backoff import Backoff


class SlotState(Enum):
    """Where a slot stands."""

    EMPTY = "empty"
    STARTING = "starting"
    PREPARED = "prepared"
    GOING = "going"
    READY = "ready"
    DRAINING = "draining"
    HUNG = "hung"
    CUT = "cut"
    BACKOFF = "backoff"
    GONE = "gone"


class Fact(Enum):
    """What can happen to a slot."""

    FILL = "fill"
    PREPARED = "prepared"
    KEEP = "keep"
    RELEASE = "release"
    ACCEPTING = "accepting"
    BEAT = "beat"
    RETIRE = "retire"
    EXITED = "exited"
    LATE = "late"


class SlotOrder(Enum):
    """What the shell has to do."""

    START = "start"
    GO = "go"
    DRAIN = "drain"
    ABORT = "abort"
    TERMINATE = "terminate"
    KILL = "kill"


# Kinds that run at most one worker at a time.
SINGLETONS = frozenset({"cron", "process"})
_AFTER_CRASHES = Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.2)


@dataclass(frozen=True)
class SlotTimeouts:
    """How long each thing may take, in seconds.

    A task worker may drain for `task_drain`, if that is longer than `drain`.
    `stop` is what a worker may need after its drain, to shut its plugins down; `kill` is the time
    from the first to the last warning. A worker that was ready for `served` is replaced at once
    when it ends; after one that was not, the slot waits longer each time. Exits count until a
    worker has been ready for `memory`.
    """

    boot: float = 60.0
    go: float = 5.0
    silence: float = 30.0
    drain: float = 30.0
    task_drain: float = 0.0
    stop: float = 10.0
    kill: float = 5.0
    served: float = 0.5
    memory: float = 60.0
    backoff: Backoff = _AFTER_CRASHES


@dataclass(frozen=True)
class Slot:
    """One slot.

    `deadline` is when LATE is due, None for never. A `kept` slot is filled again when its worker
    ends, a `released` one goes as soon as it is prepared. `exits` counts the unexpected exits that
    still count, `failures` the latest ones in a row whose worker had not served. `began` is when
    the latest worker was started, `since` when it became ready.
    """

    name: str
    limits: SlotTimeouts = SlotTimeouts()
    state: SlotState = SlotState.EMPTY
    deadline: float | None = None
    kept: bool = False
    released: bool = False
    exits: int = 0
    failures: int = 0
    began: float = 0.0
    since: float | None = None

    @property
    def kind(self) -> str:
        """The kind of worker that fills it: `web` of `web.0`, `process` of `process.ticker.0`."""
        return self.name.partition(".")[0]

    @property
    def drain(self) -> float:
        """How long its worker may drain."""
        limits = self.limits
        return max(limits.drain, limits.task_drain) if self.kind == "task" else limits.drain

    @property
    def filled(self) -> bool:
        """Whether there is, or should be, a process in it."""
        return self.state not in (SlotState.EMPTY, SlotState.BACKOFF, SlotState.GONE)

    @property
    def leaving(self) -> bool:
        """Whether its worker is on its way out, for good."""
        return self.state in (SlotState.DRAINING, SlotState.CUT)


def step(slot: Slot, fact: Fact, now: float) -> tuple[Slot, SlotOrder | None]:
    """Take one fact; return the slot as it then is, and the order to obey, if any."""
    match slot.state, fact:
        case SlotState.EMPTY, Fact.FILL:
            return _start(slot, now)
        case SlotState.BACKOFF, Fact.LATE:
            return _start(slot, now)
        case SlotState.STARTING, Fact.PREPARED:
            slot = _to(slot, SlotState.PREPARED, None)
            return _go(slot, now) if slot.released else (slot, None)
        case _, Fact.KEEP:
            return replace(slot, kept=True), None
        case _, Fact.RELEASE:
            slot = replace(slot, kept=True, released=True)
            return _go(slot, now) if slot.state is SlotState.PREPARED else (slot, None)
        case SlotState.GOING, Fact.ACCEPTING:
            slot = replace(slot, since=now)
            return _to(slot, SlotState.READY, now + slot.limits.silence), None
        case SlotState.READY, Fact.BEAT:
            return _to(slot, SlotState.READY, now + slot.limits.silence), None
        case _, Fact.RETIRE:
            return _retire(slot, now)
        case _, Fact.EXITED:
            return _exit(slot, now), None
        case _, Fact.LATE if slot.filled:
            return _late(slot, now)
        case _:
            return slot, None


def hold(slot: Slot, until: float) -> Slot:
    """Keep an empty slot from being filled before a moment, unless its last worker has served."""
    if slot.state is not SlotState.BACKOFF or slot.deadline is None or not slot.failures:
        return slot
    return replace(slot, deadline=max(slot.deadline, until))


def hurry(slot: Slot, until: float) -> Slot:
    """Have an empty slot filled at a moment, or before."""
    if slot.state is not SlotState.BACKOFF or slot.deadline is None:
        return slot
    return replace(slot, deadline=min(slot.deadline, until))


def cut_short(slot: Slot, now: float) -> tuple[Slot, SlotOrder | None]:
    """The platform stops: a task may go on no longer than anything else."""
    slot = replace(slot, limits=replace(slot.limits, task_drain=0.0))
    until = now + slot.limits.drain + slot.limits.stop
    if slot.state is not SlotState.DRAINING or slot.deadline is None or slot.deadline <= until:
        return slot, None
    return replace(slot, deadline=until), SlotOrder.DRAIN


def _to(slot: Slot, state: SlotState, deadline: float | None) -> Slot:
    return replace(slot, state=state, deadline=deadline)


def _start(slot: Slot, now: float) -> tuple[Slot, SlotOrder]:
    slot = replace(slot, began=now)
    return _to(slot, SlotState.STARTING, now + slot.limits.boot), SlotOrder.START


def _go(slot: Slot, now: float) -> tuple[Slot, SlotOrder]:
    return _to(slot, SlotState.GOING, now + slot.limits.go), SlotOrder.GO


def _late(slot: Slot, now: float) -> tuple[Slot, SlotOrder]:
    match slot.state:
        case SlotState.DRAINING:
            return _to(slot, SlotState.CUT, now + slot.limits.kill), SlotOrder.TERMINATE
        case SlotState.HUNG | SlotState.CUT:
            return _to(slot, slot.state, None), SlotOrder.KILL
        case _:
            return _to(slot, SlotState.HUNG, now + slot.limits.kill), SlotOrder.ABORT


def _retire(slot: Slot, now: float) -> tuple[Slot, SlotOrder | None]:
    if slot.leaving:
        return slot, None
    if not slot.filled:
        return _to(slot, SlotState.GONE, None), None
    until = now + slot.drain + slot.limits.stop
    return _to(slot, SlotState.DRAINING, until), SlotOrder.DRAIN


def _exit(slot: Slot, now: float) -> Slot:
    """An exit: asked for, or not yet to be answered by us, or to be answered by filling again."""
    if not slot.filled:
        return slot
    if slot.leaving or not slot.kept:
        return _to(slot, SlotState.GONE, None)
    ready = 0.0 if slot.since is None else now - slot.since
    was_up = slot.since is not None or slot.state in (SlotState.PREPARED, SlotState.GOING)
    slot = replace(
        slot,
        exits=1 if ready >= slot.limits.memory else slot.exits + 1,
        failures=0 if ready >= slot.limits.served else slot.failures + 1,
        since=None,
    )
    return _to(slot, SlotState.BACKOFF, now + _pause(slot, was_up=was_up))


def _pause(slot: Slot, *, was_up: bool) -> float:
    """How long the slot stays empty. A worker that served is replaced at once, and the first one
    that was up and did not serve is too; a failure to boot is likely to happen again."""
    waits = slot.failures - was_up
    return slot.limits.backoff.delay(waits) if slot.failures and waits else 0.0
