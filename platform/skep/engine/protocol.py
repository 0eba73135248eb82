"""What the embedded engine and its store say to each other.

Both directions are a stream of frames: four bytes of length, big-endian, then one request or reply
as a msgpack array that begins with its name. Requests are numbered by the client and may be sent
without waiting; each is answered once, in any order. The first request of a connection is `Hello`,
except on that of a client's heartbeats: there is nothing but `Pulse`, and no answer. `Flagged` is
the one thing the store says unasked; its number is 0.

A client checks each request against this schema before it sends it, and the store answers one that
breaks it all the same with `Invalid`, by its number. It hangs up only where there is no number.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import DecodeError, Struct

from skep.base.errors import EngineError, RequestRefused
from skep.engine.base import (
    Cancellation,
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
    Row,
    RowState,
    Verdict,
)
from skep.engine.base import Count as Number

T = TypeVar("T")

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
    n: Number


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
    limits: Mapping[str, QueueLimits]


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
    n: Number


class Acknowledge(Struct, frozen=True, array_like=True, tag="acknowledge"):
    """What has happened to the file is known to an operator."""

    call: int


class Restore(Struct, frozen=True, array_like=True, tag="restore"):
    """Keep these deliveries and dead letters of another file, but those that were kept before."""

    call: int
    rows: Sequence[Row]


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
    | Acknowledge
    | Restore
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


class Damages(Struct, frozen=True, array_like=True, tag="damages"):
    """That is what has happened."""

    call: int
    whats: list[str]


class Changed(Struct, frozen=True, array_like=True, tag="changed"):
    """So many were."""

    call: int
    number: int


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """The disk is full, or the queue that is named: nothing of your request happened."""

    call: int
    error: str
    queue: str = ""


class Invalid(Struct, frozen=True, array_like=True, tag="invalid"):
    """This request cannot be carried out, now or later; nothing of it happened."""

    call: int
    error: str


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
    | Damages
    | Changed
    | Refused
    | Invalid
)

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
