"""The contract of an engine: where deliveries wait, and the few moves that everything is made of.

An engine keeps **envelopes** and hands them out under **leases**. Retries, backoff, callbacks and
listeners live above it and are written once, in `skep.worker`.

The promises every driver keeps (the conformance suite in `tests/contract` holds them to it):

* what `put` has returned for is durable, and is handed out at least once or lies in the dead
  letters;
* an envelope is under one lease at a time; a settlement by anyone but the present holder is
  refused (*fenced*), and so are the follow-ups it carries;
* a settlement and its follow-ups are one atomic step;
* the lease of a process that died, or that was silent for longer than the engine's lease time, is
  handed to another, with `losses` one higher. A live process need not renew its leases: the
  engine's own thread does.

Times are milliseconds since the epoch by the engine's clock.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct, field

Verdict = Literal["done", "retry", "dead", "release", "cut"]
RowState = Literal["ready", "scheduled", "leased", "blocked", "dead"]
Cancellation = Literal["removed", "flagged", "unknown"]
Edit = Literal["requeue", "delete", "promote"]
Ending = Literal["done", "dead", "cancelled"]
# Milliseconds since the epoch, until the year 287396; what is beyond would not fit into a column.
Moment = Annotated[int, Meta(ge=0, le=2**53)]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
# The reason of a `dead` that is a cut-off too, and counts as one.
CUT_OFF = "cut_off"
# What `progress` may set: a note for operators, not data.
LARGEST_PROGRESS = 4096

# These are msgspec structs because they are made, encoded and decoded for every task, here and in
# the store: against a frozen dataclass that takes a ninth, a third and half of the time.


class Envelope(Struct, frozen=True, array_like=True):
    """One delivery as it travels and waits.

    `id` is unique and made by the sender (`ids.new_id`), so that sending it twice keeps it once.
    `name` is the registered name of the task or event, `body` its payload as JSON, `headers` what
    the machinery adds (the step, the listener, the origin). `due` is when it may start, 0 for now.
    Of one queue, a higher `priority` is handed out first, and within it what was put first.

    Of all that bear the same `key` one is kept at a time, from its `put` until it is done, dead or
    cancelled and `unique_for` ms longer. Of all that bear the same `concurrency_key`, in whatever
    queue, no more than `concurrency` are handed out at a time, and those with a higher `priority`
    first; what waits in a paused queue holds up no other. How it ended can be asked for
    `keep_result` ms. `sender` says what delivered it (`skep.engine.senders`), empty if nothing is
    known of that.
    """

    id: str
    name: str
    body: bytes
    queue: str = "default"
    headers: dict[str, str] = field(default_factory=dict)
    due: Moment = 0
    priority: Priority = 0
    key: str = ""
    unique_for: Milliseconds = 0
    concurrency_key: str = ""
    concurrency: Annotated[int, Meta(ge=1, le=2**31)] = 1
    keep_result: Milliseconds = 0
    sender: str = ""


class Outcome(Struct, frozen=True, array_like=True):
    """What became of an envelope that was put.

    `id` is what is kept: its own, or that of the one which holds its unique key. `duplicate` says
    that nothing was added, because this id or this key was kept already; so a `put` that was
    repeated after a lost answer is a duplicate of its own id, and was accepted.
    """

    id: str
    duplicate: bool = False


class Lease(Struct, frozen=True, array_like=True):
    """An envelope held by one worker until it settles or its connection ends.

    `token` is unlike that of any other lease, ever. `attempt` counts from 1 and rises with every
    verdict `retry`, and with nothing else; `losses` counts the holders that died, `cuts` those that
    had to go before it ended. `put_at` is when the engine accepted the envelope.
    """

    envelope: Envelope
    token: str
    attempt: int
    losses: int
    put_at: int
    cuts: int = 0


class Settlement(Struct, frozen=True):
    """The end of a lease.

    `done` forgets the envelope; `retry` keeps it until `at`, one attempt older, with the `error` (a
    text) if there is one; `dead` moves it to the dead letters with `reason` (a word) and `error`;
    `release` gives it back, uncounted, to be ready again at `at`, and `cut` does so and counts a
    cut. What was cancelled in the
    meantime is removed by `retry`, `release` and `cut`. `then`
    is put in the same atomic step, after the envelope is gone: so what follows a `done` may bear
    the same id. `result` is kept with a `done` if the envelope asks for that.

    The rest is what the engine counts in that step. `step` is what was to be done, by its name in
    metrics, empty if nothing is counted; `outcome` is how it went, empty if it was not begun. A
    listener has the name of its `event`, and `skipped` are the listeners that it has prevented.
    """

    lease: Lease
    verdict: Verdict
    at: Moment = 0
    reason: str = ""
    error: str = ""
    then: tuple[Envelope, ...] = ()
    result: bytes = b""
    step: str = ""
    outcome: str = ""
    event: str = ""
    skipped: tuple[str, ...] = ()


class CountedStep(Struct, frozen=True, array_like=True):
    """What can be counted: the step of a task, or a listener of an `event`, in its queue."""

    step: str
    queue: str
    event: str = ""


class Result(Struct, frozen=True, array_like=True):
    """How a delivery has ended: with `body`, what `handle` returned, or with an `error`."""

    id: str
    ending: Ending
    body: bytes = b""
    error: str = ""


class QueueLimits(Struct, frozen=True, array_like=True):
    """What one queue may hold and how fast it is handed out; 0 means without limit.

    `max_ready` is how many may wait in it, ready, blocked or scheduled, before `put` raises
    QueueFull; what follows from a settlement is kept all the same. `concurrency` is how many are
    leased at a time, by all workers together. `rate` is how many leases there may be within any
    `period` of so many ms.
    """

    max_ready: Count = 0
    concurrency: Count = 0
    rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    period: Annotated[int, Meta(ge=1, le=2**53)] = 1000


class QueueStats(Struct, frozen=True, array_like=True):
    """How many deliveries of one queue are in which state; `oldest` is when the oldest ready one
    was put, 0 if none is ready. `blocked` ones wait for another with the same concurrency key.
    Nothing is handed out of a queue that is `paused`."""

    ready: int = 0
    scheduled: int = 0
    leased: int = 0
    dead: int = 0
    oldest: int = 0
    blocked: int = 0
    paused: bool = False


class DeliveryRow(Struct, frozen=True, array_like=True):
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
    progress: str = ""
    cancelled: bool = False
    cuts: int = 0


class Hold(Struct, frozen=True, array_like=True):
    """A name held by one process until `until`; `epoch` is higher than that of any earlier holder,
    so that what it writes can be fenced. It is renewed with its `token`."""

    name: str
    token: str
    epoch: int
    until: Moment


class Engine(Protocol):
    """Where deliveries wait. Every method but `lease` raises StoreUnavailable when the engine is
    out of reach for longer than it is willing to wait."""

    async def open(self) -> None:
        """Connect; called once, in the process and loop that will use the engine."""

    async def close(self) -> None:
        """Give back, uncounted, what is leased and not settled, and disconnect."""

    # -- deliveries ------------------------------------------------------------------------------

    async def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Keep the envelopes, all or none; what is kept is durable when this returns.

        Raises QueueFull when one of the queues is full, StoreFull when the disk is, EngineError
        when they are too large to be sent.
        """

    async def lease(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait until something is ready in one of the queues; return 1 to `n` leases.

        No queue named means every queue there is, and `-media` every queue but that. It waits for
        ever, whether the engine is in reach or not. Cancelling it loses nothing: what was on its
        way goes back, uncounted.
        """

    async def extend(self, leases: Sequence[Lease]) -> list[bool]:
        """Report that this process is alive; return False for each lease that it has lost."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End the leases; False means: fenced off, and nothing of it happened.

        When the store was killed while it settled, False can also mean that it happened and the
        answer was lost; so only the log may depend on it.
        """

    async def progress(self, lease: Lease, value: str) -> bool:
        """Set the progress, a short text for operators; return False if the lease is lost.

        Raises EngineError when the text is longer than LARGEST_PROGRESS.
        """

    async def reap(self, owner: str) -> int:
        """Take back, as losses, what a dead process holds; return how many."""

    # -- cancelling ------------------------------------------------------------------------------

    async def cancel(self, ids: Sequence[str]) -> list[Cancellation]:
        """Cancel deliveries: `removed` if they have not begun; `flagged` if they are leased:
        the holder is notified, and unless it settles them as done or dead they are removed;
        `unknown` if they have ended or never existed."""

    async def cancelled(self) -> list[str]:
        """Wait until deliveries that this process holds are cancelled; return their ids.

        Each id is returned once, to one caller.
        """

    # -- the leader ------------------------------------------------------------------------------

    async def hold(self, name: str, ttl: int, token: str = "") -> Hold | None:
        """Hold a name for `ttl` ms, or renew a hold with its token; None if another process holds
        the name."""

    async def drop(self, hold: Hold) -> None:
        """Release a hold; nothing happens if it is already lost."""

    # -- queues and operators --------------------------------------------------------------------

    async def configure(self, limits: Mapping[str, QueueLimits]) -> None:
        """Set the limits of these queues, and remove those of all others."""

    async def expect(self, steps: Sequence[CountedStep]) -> None:
        """Show what is counted of these steps, at zero if nothing is: an increase can be seen only
        from there."""

    async def pause(self, queues: Sequence[str], paused: bool = True) -> None:
        """Pause or resume these queues; remembered across restarts."""

    async def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything or is paused."""

    async def scan(
        self, queue: str, state: RowState, after: str = "", n: int = 100
    ) -> list[DeliveryRow]:
        """Return up to `n` rows of one queue and state as they were put, from the one behind the
        place `after` on."""

    async def find(self, delivery: str) -> DeliveryRow | None:
        """Return one delivery that waits, is leased or dead."""

    async def result(self, delivery: str, wait: float = 0.0) -> Result | None:
        """Return how a delivery has ended, if that is kept, waiting up to so many seconds for it.

        None means: not ended yet; it returns at once if there is no such delivery.
        """

    async def edit(self, ids: Sequence[str], op: Edit) -> int:
        """Change deliveries by hand; return how many were.

        `requeue` runs dead letters again as if new, with the reason of their death in the header
        `died`, except those whose unique key another holds;
        `promote` makes what is scheduled ready now; `delete` forgets dead letters and what waits,
        but nothing that is leased.
        """
