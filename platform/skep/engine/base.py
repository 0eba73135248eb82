"""The contract of an engine: where deliveries wait, and the few moves that everything is made of.

An engine keeps **envelopes** and hands them out under **leases**. Retries, backoff, callbacks,
listeners and limits live above it and are written once, in `skep.worker`.

The promises every driver keeps (the conformance suite in `tests/contract` holds them to it):

* what `put` has returned for is durable, and is handed out at least once or lies in the dead
  letters;
* an envelope is under one lease at a time; a settlement by anyone but the present holder is
  refused (*fenced*), and so are the follow-ups it carries;
* a settlement and its follow-ups are one atomic step;
* the lease of a process that died is handed to another, with `losses` one higher.

Times are milliseconds since the epoch by the engine's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Outcome = Literal["accepted", "duplicate", "full"]
Verdict = Literal["done", "retry", "dead", "release"]
RowState = Literal["ready", "scheduled", "leased", "dead"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One delivery as it travels and waits.

    `id` is unique and made by the sender (a UUIDv7 in hex), so that sending it twice keeps it once.
    `name` is the registered name of the task or event, `body` its payload as JSON, `headers` what
    the machinery adds (the step, the origin, the trace). `due` is when it may start, 0 for now.
    """

    id: str
    name: str
    body: bytes
    queue: str = "default"
    headers: dict[str, str] = field(default_factory=dict)
    due: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """An envelope held by one worker until it settles, or its connection or time ends.

    `attempt` counts from 1 and rises with every hand-out that ended in a verdict `retry`; `losses`
    counts the holders that died. `put_at` is when the engine accepted the envelope.
    """

    envelope: Envelope
    token: str
    attempt: int
    losses: int
    put_at: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a lease.

    `done` forgets the envelope; `retry` keeps it until `at`, one attempt older; `dead` moves it to
    the dead letters with `reason` (a word) and `error` (a text); `release` gives it back as if it
    had never been handed out. `then` is put in the same atomic step.
    """

    lease: Lease
    verdict: Verdict
    at: int = 0
    reason: str = ""
    error: str = ""
    then: tuple[Envelope, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How many deliveries of one queue are in which state; `oldest` is when the oldest ready one
    was put, 0 if none is ready."""

    ready: int = 0
    scheduled: int = 0
    leased: int = 0
    dead: int = 0
    oldest: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One delivery as an operator sees it."""

    envelope: Envelope
    state: RowState
    attempt: int
    losses: int
    put_at: int
    holder: str = ""
    reason: str = ""
    error: str = ""


class Engine(Protocol):
    """Where deliveries wait. Every method raises StoreUnavailable when the engine is out of reach
    for longer than it is willing to wait."""

    async def open(self) -> None:
        """Connect; called once, in the process and loop that will use the engine."""

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Keep the envelopes; what is `accepted` is durable when this returns.

        Raises StoreFull when the disk is.
        """

    async def lease(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait until there is something ready in one of the queues; return 1 to `n` leases.

        Cancelling it loses nothing: what was on its way goes back.
        """

    async def extend(self, leases: Sequence[Lease]) -> list[bool]:
        """Keep the leases for another term; False means: not yours any more."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End the leases; False means: fenced off, and nothing of it happened."""

    async def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything."""

    async def scan(self, queue: str, state: RowState, after: str = "", n: int = 100) -> list[Row]:
        """Return up to `n` rows of one queue and state, in order, after the row with id `after`."""

    async def close(self) -> None:
        """Give back what is leased and not started, and disconnect."""
