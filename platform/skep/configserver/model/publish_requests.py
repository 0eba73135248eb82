"""Publishes that wait for their time or for a second person; pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest

# Milliseconds.
_LONGEST_WAIT = 366 * 86_400_000


class RequestState(IntEnum):
    """What became of a request."""

    OPEN = 0
    PUBLISHED = 1
    REFUSED = 2
    WITHDRAWN = 3


class RequestStep(Enum):
    """What is to be done about an open request."""

    WAIT = "wait"
    PUBLISH = "publish"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """A person asked to publish the items with this digest.

    `due_at` is in milliseconds since the epoch, 0 for at once. `requester` and `approver` are who
    they are by their sign-in (see `Actor.person`), `requested_by` and `approved_by` their names.
    `reason` says why it was refused; `release_id` is the release that it became.
    """

    id: int
    address: Address
    digest: str
    title: str
    comment: str
    due_at: int
    requester: str
    requested_by: str
    requested_at: int
    approver: str
    approved_by: str
    state: RequestState
    reason: str
    release_id: int


def digest_of(values: Mapping[str, str]) -> str:
    """Return what names the items of a namespace, in whatever order."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_due(due_at: int, now: int) -> None:
    """Raise InvalidRequest unless a publish can be scheduled for this time; 0 is at once."""
    if due_at and not now < due_at <= now + _LONGEST_WAIT:
        raise InvalidRequest("The time of a publish must be within the next 366 days.")


def next_step(
    request: PublishRequest, digest: str, *, approval: bool, now: int
) -> tuple[RequestStep, str]:
    """Return what is to be done, and why if the request is refused.

    `digest` names the items as they are now; `approval` says whether the namespace needs a second
    person.
    """
    if digest != request.digest:
        who = f"{request.requested_by!r} asked to publish them"
        return RequestStep.REFUSE, f"The items have changed since {who}: ask again."
    if approval and not request.approver:
        if request.due_at and now >= request.due_at:
            return RequestStep.REFUSE, "Its time came before a second person approved it."
        return RequestStep.WAIT, ""
    if now < request.due_at:
        return RequestStep.WAIT, ""
    return RequestStep.PUBLISH, ""
