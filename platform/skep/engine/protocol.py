"""What the embedded engine and its store say to each other.

Both directions are a stream of frames: four bytes of length, big-endian, then one request or reply
as a msgpack array that begins with its name. Requests are numbered by the client and may be sent
without waiting; each is answered once, in any order. The first request of a connection is `Hello`,
except on that of a client's heartbeats: there is nothing but `Pulse`, and no answer. `Flagged` is
the one thing the store says unasked; its number is 0.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from skep.base.errors import EngineError
from skep.engine.base import (
    Cancellation,
    Edit,
    Envelope,
    Hold,
    Lease,
    Limits,
    Milliseconds,
    Moment,
    Outcome,
    QueueStats,
    Result,
    Row,
    RowState,
    Verdict,
)

# The largest request: far more than any sensible batch, it bounds what a client that went wrong can
# make the store hold. A reply is as large as what it carries.
LARGEST_REQUEST = 16 * 1024 * 1024
_LENGTH = 4


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """Who I am, and the tokens of every lease I hold from before."""

    call: int
    owner: str
    held: Sequence[str] = ()


class Put(Struct, frozen=True, array_like=True, tag="put"):
    """Keep these."""

    call: int
    envelopes: Sequence[Envelope]


class Take(Struct, frozen=True, array_like=True, tag="take"):
    """Lease me up to `n`, as soon as there are any."""

    call: int
    queues: Sequence[str]
    n: int


class Untake(Struct, frozen=True, array_like=True, tag="untake"):
    """Forget my request `call` to lease; it is answered with no leases unless it was already."""

    call: int


class Mark(Struct, frozen=True, array_like=True):
    """A settlement without what the store has anyway."""

    token: str
    verdict: Verdict
    at: Moment
    reason: str
    error: str
    then: Sequence[Envelope]
    result: bytes = b""


class Settle(Struct, frozen=True, array_like=True, tag="settle"):
    """End these leases."""

    call: int
    marks: Sequence[Mark]


class Extend(Struct, frozen=True, array_like=True, tag="extend"):
    """I live, and these are mine, am I right?"""

    call: int
    tokens: Sequence[str]


class Pulse(Struct, frozen=True, array_like=True, tag="pulse"):
    """This owner lives."""

    owner: str
    call: int = 0


class Note(Struct, frozen=True, array_like=True, tag="note"):
    """So far has it come."""

    call: int
    token: str
    text: str


class Reap(Struct, frozen=True, array_like=True, tag="reap"):
    """This owner is dead: take back what it holds."""

    call: int
    owner: str


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    """Let these not happen."""

    call: int
    ids: Sequence[str]


class Grasp(Struct, frozen=True, array_like=True, tag="grasp"):
    """Let me hold this name under this token, new or as before."""

    call: int
    name: str
    token: str
    ttl: Milliseconds


class Drop(Struct, frozen=True, array_like=True, tag="drop"):
    """I hold this name no longer."""

    call: int
    name: str
    token: str


class Configure(Struct, frozen=True, array_like=True, tag="configure"):
    """These queues have these limits, and no others have any."""

    call: int
    limits: Mapping[str, Limits]


class Pause(Struct, frozen=True, array_like=True, tag="pause"):
    """Hand nothing out of these queues, or do again."""

    call: int
    queues: Sequence[str]
    paused: bool


class Find(Struct, frozen=True, array_like=True, tag="find"):
    """How is this one?"""

    call: int
    id: str


class Await(Struct, frozen=True, array_like=True, tag="await"):
    """How did this one end? I wait so many ms for it."""

    call: int
    id: str
    wait: Milliseconds


class Change(Struct, frozen=True, array_like=True, tag="change"):
    """Do this to them."""

    call: int
    ids: Sequence[str]
    op: Edit


class Count(Struct, frozen=True, array_like=True, tag="count"):
    """How much is in which queue?"""

    call: int


class Scan(Struct, frozen=True, array_like=True, tag="scan"):
    """What is in this queue?"""

    call: int
    queue: str
    state: RowState
    after: str
    n: int


class Bye(Struct, frozen=True, array_like=True, tag="bye"):
    """I am leaving: take back what I hold. Answered by the end of the connection."""

    call: int


Request = (
    Hello
    | Put
    | Take
    | Untake
    | Settle
    | Extend
    | Pulse
    | Note
    | Reap
    | Cancel
    | Grasp
    | Drop
    | Configure
    | Pause
    | Count
    | Scan
    | Find
    | Await
    | Change
    | Bye
)


class Welcome(Struct, frozen=True, array_like=True, tag="welcome"):
    """You hold those of your leases that are True; the others are not yours any more. If you are
    silent for `lease` ms, none is."""

    call: int
    kept: list[bool]
    lease: int


class Outcomes(Struct, frozen=True, array_like=True, tag="outcomes"):
    """They are kept."""

    call: int
    outcomes: list[Outcome]


class Leases(Struct, frozen=True, array_like=True, tag="leases"):
    """They are yours."""

    call: int
    leases: list[Lease]


class Settled(Struct, frozen=True, array_like=True, tag="settled"):
    """Those that are True have happened."""

    call: int
    accepted: list[bool]


class Counts(Struct, frozen=True, array_like=True, tag="counts"):
    """So much is in each queue."""

    call: int
    queues: dict[str, QueueStats]


class Rows(Struct, frozen=True, array_like=True, tag="rows"):
    """That is in the queue."""

    call: int
    rows: list[Row]


class Cancelled(Struct, frozen=True, array_like=True, tag="cancelled"):
    """That became of each."""

    call: int
    found: list[Cancellation]


class Flagged(Struct, frozen=True, array_like=True, tag="flagged"):
    """These of yours are not wanted any more."""

    ids: list[str]
    call: int = 0


class Held(Struct, frozen=True, array_like=True, tag="held"):
    """It is yours, or, without a hold, somebody else's."""

    call: int
    hold: Hold | None


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """So it ended, or it has not."""

    call: int
    result: Result | None


class Changed(Struct, frozen=True, array_like=True, tag="changed"):
    """So many were."""

    call: int
    number: int


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The disk is full, or the queue that is named: nothing of your request happened."""

    call: int
    error: str
    queue: str = ""


Reply = (
    Welcome
    | Outcomes
    | Leases
    | Settled
    | Cancelled
    | Flagged
    | Held
    | Counts
    | Rows
    | Ended
    | Changed
    | Refused
)

_encoder = msgspec.msgpack.Encoder()
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


def frame(message: Request | Reply) -> bytes:
    """Return the message as it goes over the wire."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class Splitter:
    """Cuts a stream into the bodies of its frames, none larger than `largest`."""

    def __init__(self, largest: int = 2**32) -> None:
        self._largest = largest
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the bodies that are whole.

        Raises EngineError when a frame is announced that is too large.
        """
        data = self._rest + data
        bodies, start = [], 0
        while (body := start + _LENGTH) <= len(data):
            length = int.from_bytes(data[start:body], "big")
            if length > self._largest:
                raise EngineError(f"A frame of {length} bytes is larger than any may be.")
            if body + length > len(data):
                break
            bodies.append(data[body : body + length])
            start = body + length
        self._rest = data[start:]
        return bodies
