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
    DONE, FAILED: a custom process has ended by itself and is not started again

A worker that is late is first asked to end in a way that tells something: one that hangs by ABORT,
which writes down its stacks, one that drains for too long by TERMINATE, which also reaches what it
has started. Late again after `kill`, it is killed.

A slot that is not kept (its generation is not committed) is not filled again when its process
ends: that is the rollout's affair. From the commit on it is kept: a worker that ends is replaced,
also one that was not released yet. RESTART drains a worker for the sake of the next one in the
same slot. Rule: every transition is in `step`, and `step` depends on
nothing but its arguments. Times are seconds of one monotonic clock.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

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
    DONE = "done"
    FAILED = "failed"
    GONE = "gone"


class Fact(Enum):
    """What can happen to a slot. A worker has FINISHED when it ended by itself with exit code 0."""

    FILL = "fill"
    PREPARED = "prepared"
    KEEP = "keep"
    RELEASE = "release"
    ACCEPTING = "accepting"
    BEAT = "beat"
    RETIRE = "retire"
    RESTART = "restart"
    EXITED = "exited"
    FINISHED = "finished"
    LATE = "late"


class SlotOrder(Enum):
    """What the shell has to do."""

    START = "start"
    GO = "go"
    DRAIN = "drain"
    ABORT = "abort"
    TERMINATE = "terminate"
    KILL = "kill"


class Succession(Enum):
    """How, in a rollout, the new worker of a slot follows the old one."""

    BESIDE = "both accept for a moment, then the old one drains"
    HANDOVER = "the old one drains and hands over its state, then the new one goes"
    AFTER = "the old one drains and ends, then the new one goes"


@dataclass(frozen=True)
class SlotTerms:
    """What holds for one slot beside its timeouts.

    `restart` is when its worker is started again after it has ended by itself. A `vital` one has to
    be ready for the platform to be. `after` are groups that have to accept before it goes. `drain`
    (seconds) is its own time to drain, if it has one. Its worker has `served` when it was ready for
    so many seconds, if that is longer than for others.
    """

    succession: Succession = Succession.BESIDE
    restart: Literal["always", "on_failure", "never"] = "always"
    vital: bool = True
    after: tuple[str, ...] = ()
    drain: float | None = None
    served: float = 0.0


_ORDINARY = SlotTerms()
_SCHEDULER = SlotTerms(succession=Succession.HANDOVER)
_AFTER_CRASHES = Backoff(first=0.5, factor=2.0, cap=30.0, jitter=0.2)


def ordinary(name: str) -> SlotTerms:
    """Return the terms of a slot that is not one of a custom process."""
    return _SCHEDULER if name.startswith("cron.") else _ORDINARY


def group_of(name: str) -> str:
    """Return the group of a slot: slots that share a crash budget, and one of them is enough for
    the platform. It is the kind, `web` of `web.0`; of a custom process its class,
    `process.ticker.Echo`."""
    kind = name.partition(".")[0]
    return name.rpartition(".")[0] if kind == "process" else kind


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
    ends, a `released` one goes as soon as it is prepared. If `again`, its worker drains to be
    replaced by another one of the same slot. `exits` counts the unexpected exits that
    still count, `failures` the latest ones in a row whose worker had not served. `began` is when
    the latest worker was started, or ended if none is started again, `since` when it became ready.
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
    terms: SlotTerms = SlotTerms()
    again: bool = False

    @property
    def kind(self) -> str:
        """The kind of worker that fills it: `web` of `web.0`."""
        return self.name.partition(".")[0]

    @property
    def group(self) -> str:
        """See `group_of`."""
        return group_of(self.name)

    @property
    def drain(self) -> float:
        """How long its worker may drain."""
        limits = self.limits
        if self.terms.drain is not None:
            return self.terms.drain
        return max(limits.drain, limits.task_drain) if self.kind == "task" else limits.drain

    @property
    def filled(self) -> bool:
        """Whether there is, or should be, a process in it."""
        return self.state not in _UNFILLED

    @property
    def leaving(self) -> bool:
        """Whether its worker is on its way out, for good."""
        return self.state in (SlotState.DRAINING, SlotState.CUT) and not self.again


_UNFILLED = frozenset(
    {SlotState.EMPTY, SlotState.BACKOFF, SlotState.DONE, SlotState.FAILED, SlotState.GONE}
)


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
        case _, Fact.RESTART:
            return _restart(slot, now)
        case _, Fact.EXITED | Fact.FINISHED:
            return _exit(slot, now, well=fact is Fact.FINISHED), None
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
    until = now + slot.drain + slot.limits.stop
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
    if slot.state in (SlotState.DRAINING, SlotState.CUT):
        return replace(slot, again=False), None
    if not slot.filled:
        return _to(slot, SlotState.GONE, None), None
    until = now + slot.drain + slot.limits.stop
    return _to(slot, SlotState.DRAINING, until), SlotOrder.DRAIN


def _restart(slot: Slot, now: float) -> tuple[Slot, SlotOrder | None]:
    """Have another worker in the slot, although this one may be well. What was counted of crashes
    is forgotten."""
    if slot.state in (SlotState.DRAINING, SlotState.CUT, SlotState.HUNG, SlotState.GONE):
        return slot, None
    slot = replace(slot, exits=0, failures=0)
    if not slot.filled:
        return _start(slot, now)
    slot, order = _retire(slot, now)
    return replace(slot, again=True), order


def _exit(slot: Slot, now: float, *, well: bool) -> Slot:
    """An exit: asked for, or not yet to be answered by us, or to be answered by filling again,
    unless the terms of the slot say that this was all."""
    if not slot.filled:
        return slot
    if slot.again:
        return _to(replace(slot, again=False, since=None), SlotState.BACKOFF, now)
    if slot.leaving or not slot.kept:
        return _to(slot, SlotState.GONE, None)
    had_gone = slot.since is not None or slot.state is SlotState.GOING
    if had_gone and not _is_started_again(slot.terms, well=well):
        end = SlotState.DONE if well else SlotState.FAILED
        return _to(replace(slot, since=None, began=now), end, None)
    ready = 0.0 if slot.since is None else now - slot.since
    was_up = slot.since is not None or slot.state in (SlotState.PREPARED, SlotState.GOING)
    slot = replace(
        slot,
        exits=1 if ready >= slot.limits.memory else slot.exits + 1,
        failures=0 if ready >= max(slot.limits.served, slot.terms.served) else slot.failures + 1,
        since=None,
    )
    return _to(slot, SlotState.BACKOFF, now + _pause(slot, was_up=was_up))


def _is_started_again(terms: SlotTerms, *, well: bool) -> bool:
    return terms.restart == "always" or (terms.restart == "on_failure" and not well)


def _pause(slot: Slot, *, was_up: bool) -> float:
    """How long the slot stays empty. A worker that served is replaced at once, and the first one
    that was up and did not serve is too; a failure to boot is likely to happen again."""
    waits = slot.failures - was_up
    return slot.limits.backoff.delay(waits) if slot.failures and waits else 0.0
