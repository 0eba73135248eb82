"""What the inline engine keeps: the states of the store, in dictionaries, with a clock to be set.

It is made for the tests of plugins, so it is short before it is fast: looking for something goes
through all there is.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from skep.base.errors import QueueFull
from skep.engine.base import (
    CUT_OFF,
    Cancellation,
    Edit,
    Ending,
    Envelope,
    Hold,
    Lease,
    Limits,
    Outcome,
    QueueStats,
    Result,
    Row,
    RowState,
    Settlement,
)
from skep.engine.headers import risen
from skep.engine.ids import now_ms
from skep.engine.selection import selected
from skep.engine.valve import NO_LIMITS, Valve

_CANCELLED_KEPT = 3_600_000
_WAITING: tuple[RowState, ...] = ("ready", "scheduled", "blocked")


@dataclass(eq=False)
class Item:
    """One delivery."""

    envelope: Envelope
    seq: int
    put_at: int
    state: RowState = "ready"
    attempt: int = 1
    losses: int = 0
    cuts: int = 0
    owner: str = ""
    token: str = ""
    progress: str = ""
    cancelled: bool = False
    reason: str = ""
    error: str = ""

    @property
    def rank(self) -> tuple[int, int]:
        """Its place among what is ready in a queue."""
        return (-self.envelope.priority, self.seq)

    def put_off(self, at: int) -> None:
        """Let it be due no earlier than that."""
        self.envelope = replace(self.envelope, due=max(self.envelope.due, at))

    def lease(self) -> Lease:
        """Return it as its holder has it."""
        envelope = self.envelope
        return Lease(envelope, self.token, self.attempt, self.losses, self.put_at, self.cuts)

    def row(self) -> Row:
        """Return it as an operator sees it."""
        return Row(
            self.envelope,
            str(self.seq),
            self.state,
            self.attempt,
            self.losses,
            self.put_at,
            self.owner,
            self.reason,
            self.error,
            self.progress,
            self.cancelled,
            self.cuts,
        )


@dataclass
class Memory:
    """Deliveries, keys, results and holds of any number of clients in one process.

    `clock` gives the milliseconds since the epoch; after setting it on, call `touch`.
    """

    clock: Callable[[], int] = now_ms
    items: dict[str, Item] = field(default_factory=dict)
    dead: dict[str, Item] = field(default_factory=dict)
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)
    results: dict[str, tuple[Result, int]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    valves: dict[str, Valve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers, self._rounds = itertools.count(1), itertools.count()
        self._told: dict[str, Callable[[list[str]], None]] = {}
        self._sleepers: set[asyncio.Future[None]] = set()

    # -- clients ---------------------------------------------------------------------------------

    def came(self, owner: str, flagged: Callable[[list[str]], None]) -> None:
        """Know a client; `flagged` is told what it holds and need not do."""
        self._told[owner] = flagged

    def left(self, owner: str, lost: bool) -> int:
        """Take back what a client holds; return how many that were."""
        self._told.pop(owner, None)
        held = [item for item in self.items.values() if item.owner == owner]
        for item in held:
            self._give_back(item, lost)
        self.touch()
        return len(held)

    async def changed(self, seconds: float) -> None:
        """Wait until something may have changed, but no longer than so many seconds."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            async with asyncio.timeout(seconds):
                await sleeper
        except TimeoutError:
            pass
        finally:
            self._sleepers.discard(sleeper)

    def touch(self) -> None:
        """Let everybody who waits look again."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def next_wake(self) -> float:
        """Return in how many seconds something may be ready by itself, a second at most."""
        now = self.clock()
        moments = [item.envelope.due for item in self.items.values() if item.state == "scheduled"]
        moments += [m for v in self.valves.values() if (m := v.opens_at(now)) is not None]
        return min(max(min(moments, default=now + 1000) - now, 1) / 1000, 1.0)

    # -- deliveries ------------------------------------------------------------------------------

    def put(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Keep what is not kept already. Raises QueueFull, and then has kept nothing."""
        for queue in {envelope.queue for envelope in envelopes}:
            most = self._valve(queue).limits.max_ready
            new = {e.id for e in envelopes if e.queue == queue} - self.items.keys()
            waiting = len(self.of(queue, _WAITING))
            if most and new and waiting + len(new) > most:
                raise QueueFull(
                    f"The queue {queue} is full ({waiting} wait in it): deliver again later."
                )
        return self._put_all(envelopes)

    def take(self, owner: str, queues: Sequence[str], n: int) -> list[Lease]:
        """Lease up to `n` of what is ready."""
        self._promote()
        leases: list[Lease] = []
        names = selected(queues, sorted({i.envelope.queue for i in self.items.values()}))
        # Begin with another queue each time, so that a busy one starves no other.
        first = next(self._rounds) % len(names) if names else 0
        for queue in [*names[first:], *names[:first]]:
            ready = sorted(self.of(queue, ("ready",)), key=lambda item: item.rank)
            leased = len(self.of(queue, ("leased",)))
            allowed = self._valve(queue).allows(n - len(leases), leased, self.clock())
            for item in ready[:allowed]:
                item.state, item.owner = "leased", owner
                item.token = f"{item.seq}-{next(self._numbers)}"
                leases.append(item.lease())
                self._arrange(item.envelope.concurrency_key)
            self._valve(queue).passed(len(ready[:allowed]), self.clock())
        return leases

    def settle(self, settlements: Iterable[Settlement]) -> list[bool]:
        """End leases; False for those that are not held under this token."""
        accepted = [self._settle(settlement) for settlement in settlements]
        self.touch()
        return accepted

    def holding(self, lease: Lease) -> Item | None:
        """Return what is held under this very lease, if it still is."""
        item = self.items.get(lease.envelope.id)
        return item if item and item.state == "leased" and item.token == lease.token else None

    def of(self, queue: str, states: Sequence[RowState]) -> list[Item]:
        """Return the deliveries of a queue in one of these states, as they were put."""
        found = self.dead.values() if "dead" in states else self.items.values()
        return [i for i in found if i.envelope.queue == queue and i.state in states]

    def find(self, delivery: str) -> Item | None:
        """Return one that waits or is leased, or else is dead."""
        self._promote()
        return self.items.get(delivery) or self.dead.get(delivery)

    def _put_all(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        outcomes = [self._put(envelope) for envelope in envelopes]
        self.touch()
        return outcomes

    def _put(self, new: Envelope) -> Outcome:
        now = self.clock()
        if new.id in self.items:
            return Outcome(new.id, duplicate=True)
        if new.key:
            holder, until = self.keys.get(new.key, (new.id, 0))
            if holder != new.id and not 0 < until <= now:
                return Outcome(holder, duplicate=True)
            self.keys[new.key] = (new.id, 0)
        item = self.items[new.id] = Item(new, next(self._numbers), now)
        self._place(item)
        return Outcome(new.id)

    def _place(self, item: Item) -> None:
        """Let it be ready, or wait for its time or its turn."""
        item.state = "scheduled" if item.envelope.due > self.clock() else "ready"
        self._arrange(item.envelope.concurrency_key)

    def _arrange(self, lane: str) -> None:
        """Of what bears this concurrency key let the first be ready, as many as there is room for
        beside what is leased, and the others be blocked. A queue that is paused holds up no other.
        """
        if not lane:
            return
        these = [item for item in self.items.values() if item.envelope.concurrency_key == lane]
        leased = sum(item.state == "leased" for item in these)
        ready: Counter[str] = Counter()
        for item in sorted(these, key=lambda item: item.rank):
            if item.state in ("ready", "blocked"):
                queue = item.envelope.queue
                group = queue if self._valve(queue).paused else ""
                room = item.envelope.concurrency - leased
                item.state = "ready" if ready[group] < room else "blocked"
                ready[group] += item.state == "ready"

    def _promote(self) -> None:
        now = self.clock()
        due = [i for i in self.items.values() if i.state == "scheduled" and i.envelope.due <= now]
        for item in sorted(due, key=lambda item: item.envelope.due):
            self._place(item)

    def _settle(self, settlement: Settlement) -> bool:
        item = self.holding(settlement.lease)
        if item is None:
            return False
        match settlement.verdict:
            case "done" if any(e.id == item.envelope.id for e in settlement.then):
                del self.items[item.envelope.id]  # it has not ended: it begins anew
                self._arrange(item.envelope.concurrency_key)
            case "done":
                self._end(item, "done", body=settlement.result)
            case "dead":
                item.reason, item.error = settlement.reason, settlement.error
                item.cuts += settlement.reason == CUT_OFF
                self._end(item, "dead", error=settlement.error)
                self._bury(item)
            case _ if item.cancelled:
                self._end(item, "cancelled")
            case "retry" | "release" | "cut":
                item.attempt += settlement.verdict == "retry"
                item.cuts += settlement.verdict == "cut"
                item.error = settlement.error or item.error
                item.put_off(settlement.at)
                self._free(item)
        self._put_all(settlement.then)
        return True

    def _give_back(self, item: Item, lost: bool) -> None:
        if item.cancelled:
            self._end(item, "cancelled")
            return
        item.losses += lost
        self._free(item)

    def _free(self, item: Item) -> None:
        item.owner = item.token = item.progress = ""
        self._place(item)

    def _bury(self, item: Item) -> None:
        item.state = "dead"
        item.owner = item.token = item.progress = ""
        self.dead[item.envelope.id] = item

    def _end(self, item: Item, ending: Ending, body: bytes = b"", error: str = "") -> None:
        envelope, now = item.envelope, self.clock()
        del self.items[envelope.id]
        kept = _CANCELLED_KEPT if ending == "cancelled" else envelope.keep_result
        if kept:
            self.results[envelope.id] = (Result(envelope.id, ending, body, error), now + kept)
        if envelope.key and envelope.unique_for and ending != "cancelled":
            self.keys[envelope.key] = (envelope.id, now + envelope.unique_for)
        elif envelope.key:
            self.keys.pop(envelope.key, None)
        self._arrange(envelope.concurrency_key)

    # -- the leader ------------------------------------------------------------------------------

    def hold(self, name: str, ttl: int, token: str) -> Hold | None:
        """Hold a name, or longer than before; None if another token holds it."""
        now, before = self.clock(), self.holds.get(name, Hold(name, "", 0, 0))
        if before.token != token and before.until > now:
            return None
        epoch = before.epoch + (before.token != token)
        self.holds[name] = Hold(name, token, epoch, now + ttl)
        return self.holds[name]

    def drop(self, hold: Hold) -> None:
        """Hold it no longer; its epoch is remembered."""
        before = self.holds.get(hold.name)
        if before and before.token == hold.token:
            self.holds[hold.name] = Hold(hold.name, "", before.epoch, 0)

    # -- operators -------------------------------------------------------------------------------

    def cancel(self, delivery: str) -> Cancellation:
        """Let a delivery not happen."""
        item = self.items.get(delivery)
        if item is None:
            return "unknown"
        if item.state != "leased":
            self._end(item, "cancelled")
            return "removed"
        item.cancelled = True
        if item.owner in self._told:
            self._told[item.owner]([delivery])
        return "flagged"

    def edit(self, delivery: str, op: Edit) -> bool:
        """Change a delivery by hand; say whether it was."""
        item = self.items.get(delivery)
        match op:
            case "promote" if item and item.state == "scheduled":
                item.envelope = replace(item.envelope, due=self.clock())
                self._promote()
            case "delete" if item and item.state in _WAITING:
                self._end(item, "cancelled")
            case "delete" if item is None and delivery in self.dead:
                del self.dead[delivery]
            case "requeue" if item is None and delivery in self.dead:
                return self._requeue(delivery)
            case _:
                return False
        return True

    def _requeue(self, delivery: str) -> bool:
        dead = self.dead[delivery]
        if self._put(risen(dead.envelope, dead.reason)).duplicate:
            return False
        self.results.pop(delivery, None)
        del self.dead[delivery]
        return True

    def configure(self, limits: Mapping[str, Limits]) -> None:
        """Let these queues have these limits, and others none."""
        for queue in limits.keys() | self.valves.keys():
            self._valve(queue).limits = limits.get(queue, NO_LIMITS)
        self.touch()

    def pause(self, queues: Sequence[str], paused: bool) -> None:
        """Hand nothing out of these queues, or do again."""
        for queue in queues:
            self._valve(queue).paused = paused
        for lane in {item.envelope.concurrency_key for item in self.items.values()}:
            self._arrange(lane)
        self.touch()

    def result(self, delivery: str) -> Result | None:
        """Return a result that is kept."""
        result, until = self.results.get(delivery, (None, 0))
        return result if until > self.clock() else None

    def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything or is paused."""
        self._promote()
        everything = [*self.items.values(), *self.dead.values()]
        queues = {item.envelope.queue for item in everything}
        queues |= {queue for queue, valve in self.valves.items() if valve.paused}
        return {queue: self._stats(queue) for queue in sorted(queues)}

    def _stats(self, queue: str) -> QueueStats:
        ready = self.of(queue, ("ready",))
        return QueueStats(
            ready=len(ready),
            scheduled=len(self.of(queue, ("scheduled",))),
            leased=len(self.of(queue, ("leased",))),
            dead=len(self.of(queue, ("dead",))),
            oldest=min((item.put_at for item in ready), default=0),
            blocked=len(self.of(queue, ("blocked",))),
            paused=self._valve(queue).paused,
        )

    def _valve(self, queue: str) -> Valve:
        return self.valves.setdefault(queue, Valve())
