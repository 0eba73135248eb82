"""When a rollout may begin: requests are coalesced, and the latest wins.

A request waits until nothing new came for its *settle* time, but never longer than `AT_MOST` after
the first one. There is one pending request; what comes while it waits is merged into it. One that
comes soon after another is probably part of a series, and waits for the end of it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from skep.supervisor.rollout.changes import Effect
from skep.wire.messages import RolloutAsked
from skep.wire.plan import Problem

Cause = Literal["start", "config", "code", "certificate", "cli", "signal", "rollback"]

# Long enough for a publisher who touches two namespaces, and for an editor that saves many files. A
# change that the workers take as they are costs little, so it need not wait as long.
SETTLE: dict[str, float] = {"config": 0.1, "code": 0.3}
SETTLE_LIVE = 0.02
AT_MOST = 3.0
# What follows the one before within so many seconds settles for as long.
SERIES = 0.5


@dataclass(frozen=True)
class Request:
    """Somebody wants a rollout.

    `snapshot` is the path of a staged candidate, empty for the one in force; `code` the digest of
    the code on disk, empty if nobody looked. `problems` are known already. `waiters` are the
    numbers of control requests that want to know the outcome. A `forced` request is carried out
    although nothing changed, or although the same was refused before. `live` says that it will
    probably need no new worker. `changes` are what it does to the configuration in force, as soon
    as somebody has looked. `requester` is who wants it, empty for whoever usually does. `notified`
    and `pulled` are when the config server told of the snapshot and when it was pulled, in epoch
    seconds, 0 if that is not so.
    """

    cause: Cause
    reason: str = ""
    snapshot: str = ""
    code: str = ""
    problems: tuple[Problem, ...] = ()
    waiters: tuple[int, ...] = ()
    forced: bool = False
    live: bool = False
    changes: tuple[Effect, ...] = ()
    requester: str = ""
    notified: float = 0.0
    pulled: float = 0.0

    @property
    def settle(self) -> float:
        """How long it has to be quiet before it begins, in seconds."""
        return SETTLE_LIVE if self.live else SETTLE.get(self.cause, 0.0)


@dataclass(frozen=True)
class Gate:
    """The pending request, since when it has been waiting, and when the latest one came.

    `series` says that the pending one came soon after one that was let out.
    """

    pending: Request | None = None
    since: float = 0.0
    latest: float = float("-inf")
    series: bool = False

    @property
    def due(self) -> float | None:
        """When the pending request may begin; None if there is none."""
        if self.pending is None:
            return None
        settle = self.pending.settle
        if self.series and self.pending.cause in SETTLE and not self.pending.live:
            settle = SERIES
        return min(self.latest + settle, self.since + AT_MOST)


def requested(asked: RolloutAsked, *, starting: bool) -> Request:
    """Return what the agent asks for; `starting` says that there is no generation yet."""
    cause: Cause = "start" if starting else "code" if asked.cause == "code" else "config"
    return Request(
        cause,
        asked.reason,
        asked.snapshot,
        asked.code,
        tuple(asked.problems),
        notified=asked.notified,
        pulled=asked.pulled,
    )


def ask(gate: Gate, request: Request, now: float) -> Gate:
    """Let a request in."""
    if gate.pending is None:
        return Gate(request, now, now, series=now - gate.latest < SERIES)
    return replace(gate, pending=merge(gate.pending, request), latest=now)


def put_back(gate: Gate, request: Request, now: float) -> Gate:
    """Let in again a request that was let out and has to wait: what came since is newer."""
    if gate.pending is None:
        return ask(gate, request, now)
    return replace(gate, pending=merge(request, gate.pending))


def take(gate: Gate, now: float) -> tuple[Gate, Request | None]:
    """Return the request that may begin now, if there is one, and the gate without it."""
    if gate.due is None or now < gate.due:
        return gate, None
    return Gate(latest=gate.latest), gate.pending


def merge(old: Request, new: Request) -> Request:
    """Return one request for both: the newer word on each thing, and everybody who waits.

    Problems belong to a state of the code, so they stand until there is a newer one; those of a
    rollback only explain it. Of reasons those are kept that still hold: one for a snapshot that is
    overtaken does not.
    """
    is_rollback = "rollback" in (old.cause, new.cause)
    overtaken = (new.snapshot or not old.snapshot) and (new.code or not old.code)
    reasons = [new.reason] if overtaken else [old.reason, new.reason]
    return replace(
        new,
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        snapshot=new.snapshot or old.snapshot,
        code=new.code or old.code,
        problems=new.problems if new.code or is_rollback else old.problems,
        waiters=old.waiters + new.waiters,
        forced=old.forced or new.forced,
        live=old.live and new.live,
        notified=new.notified if new.snapshot else old.notified,
        pulled=new.pulled if new.snapshot else old.pulled,
    )
