"""The protocol between the embedded engine and its store.

Both directions are a stream of frames: four bytes of length, big-endian, then one request or reply
as a msgpack array that begins with its name. Requests are numbered by the client and may be sent
without waiting; each is answered once, in any order. The first request of a connection is
`Introduction`; the connection of a client's heartbeats carries `Pulse` alone, without answers. The
store sends `Flagged` unasked, with the number 0.

A client checks each request against this schema before it sends it. The store answers a request
that breaks it with `Invalid`, and closes the connection when it cannot read even the number.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import DecodeError, Struct

from skep.base.errors import EngineError, RequestRefused
from skep.engine.contract import (
    Cancellation,
    CountedStep,
    DeliveryRow,
    Edit,
    Envelope,
    Hold,
    Lease,
    Milliseconds,
    Moment,
    Outcome,
    QueueLimits,
    QueueStats,
    Result,
    RowState,
    Verdict,
)
from skep.engine.contract import Count as Number

T = TypeVar("T")

# The largest request: far more than any sensible batch, it bounds what a broken client can make
# the store hold. A reply is as large as what it carries.
LARGEST_REQUEST = 16 * 1024 * 1024
_LENGTH = 4


class _Numbered(Struct, frozen=True, array_like=True):
    """A request, or its reply, which has the same number."""

    call: int


class Introduction(_Numbered, frozen=True, tag="hello"):
    """Name the owner, and the tokens of the leases it still holds."""

    owner: str
    held: Sequence[str] = ()


class Put(_Numbered, frozen=True, tag="put"):
    """Keep these envelopes."""

    envelopes: Sequence[Envelope]


class Take(_Numbered, frozen=True, tag="take"):
    """Lease up to `n`, as soon as any are ready."""

    queues: Sequence[str]
    n: Number


class Untake(_Numbered, frozen=True, tag="untake"):
    """Cancel the `Take` with this number; it is answered with no leases unless it already was."""


class Mark(Struct, frozen=True, array_like=True):
    """A settlement without what the store already has."""

    token: str
    verdict: Verdict
    at: Moment
    reason: str
    error: str
    then: Sequence[Envelope]
    result: bytes = b""
    step: str = ""
    outcome: str = ""
    event: str = ""
    skipped: tuple[str, ...] = ()


class Settle(_Numbered, frozen=True, tag="settle"):
    """End these leases."""

    marks: Sequence[Mark]


class Extend(_Numbered, frozen=True, tag="extend"):
    """Ask which of these leases are still held."""

    tokens: Sequence[str]


class Pulse(Struct, frozen=True, array_like=True, tag="pulse"):
    """Report that this owner is alive."""

    owner: str
    call: int = 0


class Note(_Numbered, frozen=True, tag="note"):
    """Set the progress of a lease."""

    token: str
    text: str


class Reap(_Numbered, frozen=True, tag="reap"):
    """Take back what a dead owner holds."""

    owner: str


class Cancel(_Numbered, frozen=True, tag="cancel"):
    """Cancel these deliveries."""

    ids: Sequence[str]


class Grasp(_Numbered, frozen=True, tag="grasp"):
    """Hold a name under this token, or renew the hold."""

    name: str
    token: str
    ttl: Milliseconds


class Drop(_Numbered, frozen=True, tag="drop"):
    """Release a name."""

    name: str
    token: str


class Configure(_Numbered, frozen=True, tag="configure"):
    """Set the limits of these queues, and remove those of all others."""

    limits: Mapping[str, QueueLimits]


class Expect(_Numbered, frozen=True, tag="expect"):
    """Show what is counted of these steps, from zero."""

    steps: Sequence[CountedStep]


class Pause(_Numbered, frozen=True, tag="pause"):
    """Pause or resume these queues."""

    queues: Sequence[str]
    paused: bool


class Find(_Numbered, frozen=True, tag="find"):
    """Look up one delivery."""

    id: str


class Await(_Numbered, frozen=True, tag="await"):
    """Wait up to `wait` ms for the result of a delivery."""

    id: str
    wait: Milliseconds


class Alter(_Numbered, frozen=True, tag="change"):
    """Change these deliveries by hand."""

    ids: Sequence[str]
    op: Edit


class Count(_Numbered, frozen=True, tag="count"):
    """Count the deliveries of each queue."""


class Scan(_Numbered, frozen=True, tag="scan"):
    """List deliveries of one queue and state."""

    queue: str
    state: RowState
    after: str
    n: Number


class Acknowledge(_Numbered, frozen=True, tag="acknowledge"):
    """Confirm that an operator knows of the damage to the file."""


class Restore(_Numbered, frozen=True, tag="restore"):
    """Keep deliveries and dead letters of another file, except those that were kept before."""

    rows: Sequence[DeliveryRow]


class Bye(_Numbered, frozen=True, tag="bye"):
    """Leave, and give back what is held. The store answers by closing the connection."""


Request = (
    Introduction | Put | Take | Untake | Settle | Extend | Pulse | Note | Reap | Cancel | Grasp
    | Drop | Configure | Expect | Pause | Count | Scan | Find | Await | Alter | Acknowledge
    | Restore | Bye
)  # fmt: skip


class Welcome(_Numbered, frozen=True, tag="welcome"):
    """Which of the leases of the introduction are still held; all are lost after `lease` ms of
    silence."""

    kept: list[bool]
    lease: int


class PutOutcomes(_Numbered, frozen=True, tag="outcomes"):
    """The envelopes are kept."""

    outcomes: list[Outcome]


class Leases(_Numbered, frozen=True, tag="leases"):
    """Leases, in answer to a `Take`."""

    leases: list[Lease]


class Accepted(_Numbered, frozen=True, tag="settled"):
    """Which of the settlements or leases of the request the store accepted."""

    accepted: list[bool]


class Counts(_Numbered, frozen=True, tag="counts"):
    """How much is in each queue."""

    queues: dict[str, QueueStats]


class Rows(_Numbered, frozen=True, tag="rows"):
    """The deliveries that were found."""

    rows: list[DeliveryRow]


class Cancellations(_Numbered, frozen=True, tag="cancelled"):
    """What became of each delivery to cancel."""

    found: list[Cancellation]


class Flagged(Struct, frozen=True, array_like=True, tag="flagged"):
    """Deliveries that this client holds were cancelled."""

    ids: list[str]
    call: int = 0


class HoldAnswer(_Numbered, frozen=True, tag="held"):
    """The hold; None if another process holds the name."""

    hold: Hold | None


class Ended(_Numbered, frozen=True, tag="ended"):
    """How the delivery has ended; None if it has not."""

    result: Result | None


class Damages(_Numbered, frozen=True, tag="damages"):
    """The damages that were confirmed."""

    whats: list[str]


class Affected(_Numbered, frozen=True, tag="changed"):
    """How many the request changed."""

    number: int


class NoRoom(_Numbered, frozen=True, tag="refused"):
    """The disk is full, or the named queue: nothing of the request happened."""

    error: str
    queue: str = ""


class Invalid(_Numbered, frozen=True, tag="invalid"):
    """The request can never be carried out; nothing of it happened."""

    error: str


Reply = (
    Welcome | PutOutcomes | Leases | Accepted | Cancellations | Flagged | HoldAnswer | Counts
    | Rows | Ended | Damages | Affected | NoRoom | Invalid
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decode_anything = msgspec.msgpack.Decoder().decode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode

_PLACE = re.compile(r" - at `\$(.*)`$")
_INDEX = re.compile(r"\[(\d+)\]")
# How much of a wrong value an error shows.
_SHOWN = 80


def frame(message: Request | Reply) -> bytes:
    """Return the message as it goes over the wire."""
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


def checked_frame(request: Request) -> bytes:
    """Return the request as it goes over the wire.

    Raises ValueError, with the field and its value, for what the store could not read, and
    RequestRefused for what is too large.
    """
    try:
        sent = frame(request)
        decode_request(memoryview(sent)[_LENGTH:])
    except DecodeError as error:
        raise ValueError(_explained(request, str(error))) from None
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        name = type(request).__name__.lower()
        raise ValueError(f"The engine cannot send this {name}: {error}.") from error
    if len(sent) > LARGEST_REQUEST:
        raise RequestRefused(
            f"What is to be delivered at once has {len(sent)} bytes, and "
            f"{LARGEST_REQUEST} is the most: deliver less at once."
        )
    return sent


def read_request(body: bytes) -> Request | Invalid:
    """Return the request, or the answer to one that cannot be read.

    Raises DecodeError when the body does not even give its number.
    """
    return _read(body, decode_request)


def read_reply(body: bytes) -> Reply:
    """Return the reply; one that cannot be read becomes `Invalid`. Raises DecodeError as above."""
    return _read(body, decode_reply)


def _read(body: bytes, decode: Callable[[bytes], T]) -> T | Invalid:
    try:
        return decode(body)
    except DecodeError as error:
        match _decode_anything(body):
            case [str(), int(call), *_]:
                return Invalid(call, str(error))
        raise


def _explained(request: Request, complaint: str) -> str:
    """Return msgspec's complaint with the names of fields instead of their places in arrays."""
    what, path, value = _PLACE.sub("", complaint), type(request).__name__.lower(), request
    found = _PLACE.search(complaint)
    for index in map(int, _INDEX.findall(found[1])) if found is not None else ():
        here: Any = value
        if isinstance(here, Struct):
            name = here.__struct_fields__[index - (here.__struct_config__.tag is not None)]
            path, value = f"{path}.{name}", getattr(here, name)
        elif isinstance(here, Sequence):
            path, value = f"{path}[{index}]", here[index]
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return f"{path} is {shown}: {what[:1].lower()}{what[1:]}."


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
