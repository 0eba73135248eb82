"""When a rollout may begin: requests are coalesced, and the latest wins.

A request waits until nothing new came for its *settle* time, but never longer than `AT_MOST` after
the first one. There is one pending request; what comes while it waits is merged into it. One that
comes soon after another is probably part of a series, and waits for the end of it.
"""

from dataclasses import dataclass, replace

from skep.supervisor.request import Cause, RolloutRequest, merge
from skep.wire.messages import RolloutAsked

# Long enough for a publisher who touches two namespaces, and for an editor that saves many files. A
# change that the workers take as they are costs little, so it need not wait as long.
SETTLE: dict[str, float] = {"config": 0.1, "code": 0.3}
SETTLE_LIVE = 0.02
AT_MOST = 3.0
# What follows the one before within so many seconds settles for as long.
SERIES = 0.5


@dataclass(frozen=True)
class Gate:
    """The pending request, since when it has been waiting, and when the latest one came.

    `series` says that the pending one came soon after one that was let out.
    """

    pending: RolloutRequest | None = None
    since: float = 0.0
    latest: float = float("-inf")
    series: bool = False

    @property
    def due(self) -> float | None:
        """When the pending request may begin; None if there is none."""
        if self.pending is None:
            return None
        pending = self.pending
        settle = SETTLE_LIVE if pending.live else SETTLE.get(pending.cause, 0.0)
        if self.series and pending.cause in SETTLE and not pending.live:
            settle = SERIES
        return min(self.latest + settle, self.since + AT_MOST)


def requested(asked: RolloutAsked, *, starting: bool) -> RolloutRequest:
    """Return what the agent asks for; `starting` says that there is no generation yet."""
    cause: Cause = "start" if starting else "code" if asked.cause == "code" else "config"
    return RolloutRequest(
        cause,
        asked.reason,
        asked.snapshot,
        asked.code,
        tuple(asked.problems),
        notified=asked.notified,
        pulled=asked.pulled,
    )


def ask(gate: Gate, request: RolloutRequest, now: float) -> Gate:
    """Add a request."""
    if gate.pending is None:
        return Gate(request, now, now, series=now - gate.latest < SERIES)
    return replace(gate, pending=merge(gate.pending, request), latest=now)


def put_back(gate: Gate, request: RolloutRequest, now: float) -> Gate:
    """Let in again a request that was let out and has to wait: what came since is newer."""
    if gate.pending is None:
        return ask(gate, request, now)
    return replace(gate, pending=merge(request, gate.pending))


def take(gate: Gate, now: float) -> tuple[Gate, RolloutRequest | None]:
    """Return the request that may begin now, if there is one, and the gate without it."""
    if gate.due is None or now < gate.due:
        return gate, None
    return Gate(latest=gate.latest), gate.pending
