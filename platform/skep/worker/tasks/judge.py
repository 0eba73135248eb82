"""What becomes of a delivery after a run: pure, so that every case is a line in a test.

returned ───────────────► done       then: finish, or the next listener
raised an error, Retry ─► retry      as long as there are tries, if it is among `retry_on`
                        └► dead      "failed", or "timeout", after the last one; then: failed
raised Discard, drop_on ► done
returned, but not JSON ─► dead       "invalid_result", at once, for its work is done; then: failed
cut off by a drain ─────► cut        it has cost no try, but is counted
                        └► dead      "cut_off", when that was once too often
cancelled ──────────────► release    which the engine makes an end
holders died too often ─► dead        "worker_lost"; then: failed
name not known ─────────► put again  3 times, for a rollout may be under way
                        └► dead      "unknown_task"
payload does not fit ───► dead       "undecodable"
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from skep.api.tasks.policy import CUT_TRIES, HandlerTimeout, Policy, Retry
from skep.base.backoff import Backoff
from skep.base.logs import log
from skep.engine.contract import CUT_OFF, Envelope, Lease, Settlement
from skep.engine.headers import UNKNOWN
from skep.worker.tasks.steps import InvalidResult, Step

# What an old worker does not know, a newer one may: 1, 5 and 25 s are longer than a rollout takes.
UNKNOWN_TRIES = 3
_UNKNOWN_BACKOFF = Backoff(first=1.0, factor=5.0, cap=25.0, jitter=0.0)
# Tracebacks of deep recursion are long, and their two ends are what is read.
_LONGEST_ERROR = 8000

# What a listener's outcome is called; one that was cut off was not delivered.
_EVENT_OUTCOMES = {
    "success": "success",
    "failure": "failure",
    "timeout": "failure",
    "rejected": "skipped",
}

Outcome = Literal["success", "failure", "timeout", "cancelled", "rejected"]


@dataclass(frozen=True, slots=True)
class Returned:
    """The handler returned; `then` follows from its value, and `result` is kept of it."""

    then: tuple[Envelope, ...]
    result: bytes = b""


@dataclass(frozen=True, slots=True)
class Raised:
    """The handler raised an exception."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class CutOff:
    """The worker ended before the handler did; `tries` is how often that may happen."""

    tries: int = CUT_TRIES


@dataclass(frozen=True, slots=True)
class CancelledDelivery:
    """The delivery was cancelled; the engine deletes it when it is released."""


@dataclass(frozen=True, slots=True)
class LostTooOften:
    """Too many workers died over it, so it was not begun again."""


Ending = Returned | Raised | CutOff | CancelledDelivery | LostTooOften


def is_suspect(losses: int, lost_tries: int) -> bool:
    """Return whether one more death would be the last: then no other delivery may be to blame.

    Deliveries leased beside a task that kills its workers are lost as often as it is. So before its
    last loss, a delivery runs in a worker that holds nothing else. One that may be lost only once
    has killed nothing yet, and needs no worker of its own.
    """
    return 0 < losses == lost_tries - 1


def judge(
    lease: Lease,
    step: Step,
    ending: Ending,
    now: int,
    draw: Callable[[], float] = random.random,
) -> Settlement:
    """Return how to settle a lease whose step ended like this, at `now`."""
    match ending:
        case Returned(then, result):
            return Settlement(lease, "done", then=then, result=result)
        case CancelledDelivery():
            return Settlement(lease, "release")
        case CutOff(tries) if lease.cuts + 1 < tries:
            return Settlement(lease, "cut")
        case CutOff():
            return _bury(lease, step, CUT_OFF, _cut_text(lease.cuts + 1))
        case LostTooOften():
            return _bury(lease, step, "worker_lost", f"{lease.losses} workers died over it.")
        case Raised(InvalidResult() as error):
            return _bury(lease, step, "invalid_result", str(error))
        case Raised(error) if step.policy.is_dropped(error):
            return Settlement(lease, "done", then=step.regardless)
        case Raised(error) if step.policy.is_retried(error, lease.attempt):
            asked = error.delay if isinstance(error, Retry) else None
            delay = step.policy.backoff.delay(lease.attempt, draw) if asked is None else asked
            text = "" if isinstance(error, Retry) else _as_text(error)
            at = now + round(delay * 1000)
            return Settlement(lease, "retry", at, error=text, then=step.regardless)
        case Raised(error):
            reason = "timeout" if isinstance(error, HandlerTimeout) else "failed"
            return _bury(lease, step, reason, _as_text(error))


def outcome(ending: Ending, policy: Policy) -> Outcome:
    """Return the name of this outcome in metrics."""
    match ending:
        case Returned():
            return "success"
        case Raised(InvalidResult()):
            return "failure"
        case CutOff() | CancelledDelivery():
            return "cancelled"
        case Raised(error) if policy.is_dropped(error):
            return "rejected"
        case Raised(HandlerTimeout()):
            return "timeout"
        case _:
            return "failure"


def counted(settlement: Settlement, step: Step, ending: Ending, how: Outcome) -> Settlement:
    """Return the settlement with what the engine counts when it settles it."""
    if not step.event:
        no_attempt = isinstance(ending, LostTooOften)
        return replace(settlement, step=step.name, outcome="" if no_attempt else how)
    round_ended = isinstance(ending, Returned) and not settlement.then  # it has returned False
    return replace(
        settlement,
        step=step.name,
        outcome=_EVENT_OUTCOMES.get(how, ""),
        event=step.event,
        skipped=step.following if round_ended else (),
    )


def judge_unknown(lease: Lease, error: str, now: int) -> Settlement:
    """Return how to settle a lease whose name no plugin here knows."""
    envelope = lease.envelope
    times = int(envelope.headers.get(UNKNOWN, "0")) + 1
    if times > UNKNOWN_TRIES:
        return Settlement(lease, "dead", reason="unknown_task", error=error, step=envelope.name)
    due = now + round(_UNKNOWN_BACKOFF.delay(times) * 1000)
    headers = {**envelope.headers, UNKNOWN: str(times)}
    return Settlement(lease, "done", then=(replace(envelope, headers=headers, due=due),))


def judge_undecodable(lease: Lease, error: str) -> Settlement:
    """Return how to settle a lease whose payload does not fit."""
    text = _storable(log.excerpt(error, _LONGEST_ERROR))
    step = lease.envelope.name
    return Settlement(lease, "dead", reason="undecodable", error=text, step=step)


def _cut_text(cuts: int) -> str:
    times = "once" if cuts == 1 else f"{cuts} times"
    return (
        f"It was begun and cut off {times}, because its worker was replaced or stopped before it "
        "ended: give it more time with `drain`, or work in smaller steps."
    )


def _bury(lease: Lease, step: Step, reason: str, error: str) -> Settlement:
    then = step.regardless + step.on_death(error)
    return Settlement(lease, "dead", reason=reason, error=error, then=then)


def _as_text(error: BaseException) -> str:
    return _storable(log.traceback_text(error, _LONGEST_ERROR))


def _storable(text: str) -> str:
    """Return the text with characters that have no bytes (half a surrogate pair) spelt out."""
    return text.encode(errors="backslashreplace").decode()
