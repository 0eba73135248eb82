"""The contract of an engine: where deliveries wait, and the few moves that everything is made of.

An engine keeps **envelopes** and hands them out under **leases**. Retries, backoff, callbacks and
listeners live above it and are written once, in `skep.worker`.

The promises every driver keeps (the conformance suite in `tests/contract` holds them to it):

* what `put` has returned for is durable, and is handed out at least once or lies in the dead
  letters;
* an envelope is under one lease at a time; a settlement by anyone but the present holder is
  refused (*fenced*), and so are the follow-ups it carries;
* a settlement and its follow-ups are one atomic step;
* the lease of a process that died is handed to another, with `losses` one higher. A lease has no
  term: it ends with its settlement or with its holder.

Times are milliseconds since the epoch by the engine's clock.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct, field

Outcome = Literal["accepted", "duplicate"]
Verdict = Literal["done", "retry", "dead", "release"]
RowState = Literal["ready", "scheduled", "leased", "dead"]
# Milliseconds since the epoch, until the year 287396; what is beyond would not fit into a column.
Moment = Annotated[int, Meta(ge=0, le=2**53)]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31)]

# These are msgspec structs because they are made, encoded and decoded for every task, here and in
# the store: against a frozen dataclass that takes a ninth, a third and half of the time.


class Envelope(Struct, frozen=True, array_like=True):
    """One delivery as it travels and waits.

    `id` is unique and made by the sender (`ids.new_id`), so that sending it twice keeps it once.
    `name` is the registered name of the task or event, `body` its payload as JSON, `headers` what
    the machinery adds (the step, the listener, the origin). `due` is when it may start, 0 for now.
    Of one queue, a higher `priority` is handed out first, and within it what was put first.
    """

    id: str
    name: str
    body: bytes
    queue: str = "default"
    headers: dict[str, str] = field(default_factory=dict)
    due: Moment = 0
    priority: Priority = 0


class Lease(Struct, frozen=True, array_like=True):
    """An envelope held by one worker until it settles or its connection ends.

    `token` is unlike that of any other lease, ever. `attempt` counts from 1 and rises with every
    verdict `retry`, and with nothing else; `losses` counts the holders that died. `put_at` is when
    the engine accepted the envelope.
    """

    envelope: Envelope
    token: str
    attempt: int
    losses: int
    put_at: int


class Settlement(Struct, frozen=True):
    """The end of a lease.

    `done` forgets the envelope; `retry` keeps it until `at`, one attempt older; `dead` moves it to
    the dead letters with `reason` (a word) and `error` (a text); `release` gives it back,
    uncounted, to be ready again at `at`. `then` is put in the same atomic step, after the envelope
    is gone: so what follows a `done` may bear the same id.
    """

    lease: Lease
    verdict: Verdict
    at: Moment = 0
    reason: str = ""
    error: str = ""
    then: tuple[Envelope, ...] = ()


class QueueStats(Struct, frozen=True, array_like=True):
    """How many deliveries of one queue are in which state; `oldest` is when the oldest ready one
    was put, 0 if none is ready."""

    ready: int = 0
    scheduled: int = 0
    leased: int = 0
    dead: int = 0
    oldest: int = 0


class Row(Struct, frozen=True, array_like=True):
    """One delivery as an operator sees it; `place` is where a scan stands that has come to it."""

    envelope: Envelope
    place: str
    state: RowState
    attempt: int
    losses: int
    put_at: int
    holder: str = ""
    reason: str = ""
    error: str = ""


class Engine(Protocol):
    """Where deliveries wait. Every method but `lease` raises StoreUnavailable when the engine is
    out of reach for longer than it is willing to wait."""

    async def open(self) -> None:
        """Connect; called once, in the process and loop that will use the engine."""

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Keep the envelopes, all or none; what is `accepted` is durable when this returns.

        Raises StoreFull when the disk is full, EngineError when they are too large to be sent.
        """

    async def lease(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait until something is ready in one of the queues; return 1 to `n` leases.

        No queue named means every queue there is. It waits for ever, whether the engine is in reach
        or not. Cancelling it loses nothing: what was on its way goes back, uncounted.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End the leases; False means: fenced off, and nothing of it happened.

        When the store was killed while it settled, False can also mean that it happened and the
        answer was lost; so let nothing depend on it but the log.
        """

    async def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything."""

    async def scan(self, queue: str, state: RowState, after: str = "", n: int = 100) -> list[Row]:
        """Return up to `n` rows of one queue and state as they were put, from the one behind the
        place `after` on."""

    async def close(self) -> None:
        """Give back, uncounted, what is leased and not settled, and disconnect."""
