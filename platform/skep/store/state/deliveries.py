"""The states of deliveries: rows, and the part of them that is kept in memory.

The changes decide by what is in memory (who holds what, how many are in which state) and write
rows. No reply about them may be sent before the commit.

    put ──► ready ──► leased ──► gone, or dead
       └──► scheduled    │
            (until due)  └──► ready, scheduled: given back, or to be tried again

What is due, but for which its concurrency key has no room, is blocked until there is; see
`concurrency.py`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from skep.engine.contract import CUT_OFF, Envelope, Lease, Outcome, Result
from skep.engine.headers import LISTENER
from skep.engine.protocol import Mark
from skep.store.file import schema
from skep.store.file.schema import (
    BLOCKED,
    DEAD,
    LEASED,
    NO_RULES,
    READY,
    SCHEDULED,
    Rules,
    read_rules,
    rules_of,
    write_rules,
)
from skep.store.state.concurrency import LanePlace, Lanes
from skep.store.state.queue_limits import Throttle
from skep.store.state.retained import Retained
from skep.store.state.tally import Tally
from skep.store.state.transaction import Transaction

# The connection of a lease whose holder has not reconnected since the store started.
NOBODY = 0
# Rows made ready in one transaction: more would delay the requests of that transaction.
_PROMOTED_AT_ONCE = 500
# How long the result of a cancelled delivery is kept, in ms.
_CANCELLED_KEPT = 3_600_000

_PUT = """
INSERT INTO delivery
    (id, name, queue, priority, due, put_at, headers, body, state, lane, rules, sender)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_TAKE = f"""
UPDATE delivery SET state = 2, holder = ?, serial = ? WHERE seq IN (
    SELECT seq FROM delivery WHERE state = 0 AND queue = ? ORDER BY priority DESC, seq LIMIT ?)
RETURNING seq, {schema.COLUMNS}, rules, attempt, losses, put_at, cuts"""
_PROMOTE = """
UPDATE delivery SET state = iif(lane = '', 0, 4) WHERE seq IN (
    SELECT seq FROM delivery WHERE state = 1 AND due <= ? ORDER BY due LIMIT ?)
RETURNING seq, queue, priority, lane, rules"""
_WAIT = """
UPDATE delivery SET state = ?, due = max(due, ?), attempt = attempt + ?, cuts = cuts + ?,
       holder = '', progress = '', error = iif(? = '', error, ?)
WHERE seq = ?"""
_GIVE_BACK = """
UPDATE delivery SET state = iif(lane = '', 0, 4), losses = losses + ?, holder = '', progress = ''
WHERE seq = ?"""
_FORGET = "DELETE FROM delivery WHERE seq = ?"
_BURY = """
INSERT OR REPLACE INTO dead (id, name, queue, priority, due, put_at, headers, body, attempt, losses,
                             lane, sender, rules, cuts, reason, error, died_at)
SELECT id, name, queue, priority, due, put_at, headers, body, attempt, losses,
       lane, sender, rules, cuts + ?, ?, ?, ?
FROM delivery WHERE seq = ?"""
_FIND = f"SELECT seq, id, queue, state, lane, rules, {schema.IS_EVENT} FROM delivery WHERE id = ?"
_FLAG = "UPDATE delivery SET cancelled = 1 WHERE seq = ?"
_NOTE = "UPDATE delivery SET progress = ? WHERE seq = ?"
_FORGET_DEAD = "DELETE FROM dead WHERE id = ? RETURNING queue"


_READY_AT_ONCE = LanePlace(is_ready=True)


class HeldLease(NamedTuple):
    """A lease, as it is kept in memory."""

    serial: int
    owner: str
    connection: int
    id: str
    queue: str
    lane: str
    rules: Rules
    is_event: bool
    cancelled: bool = False


class Found(NamedTuple):
    """A delivery that was looked up."""

    seq: int
    id: str
    queue: str
    state: int
    lane: str
    rules: Rules
    is_event: bool


class Deliveries:
    """The deliveries that wait or are leased."""

    def __init__(self, transaction: Transaction, retained: Retained, tally: Tally) -> None:
        self._transaction = transaction
        self._retained = retained
        self._tally = tally
        self.held: dict[int, HeldLease] = {}
        # What was held when the transaction began, and is no longer.
        self.let_go: dict[int, HeldLease] = {}
        self.counts: dict[str, list[int]] = {}
        # How many are events' and not dead.
        self.events = 0
        self.lanes = Lanes(transaction, self._move)
        self.throttles: dict[str, Throttle] = {}
        self.next_due: int | None = None
        # The serial of all leases of the latest `take` from one queue.
        self.serial = 0

    # -- put and take ----------------------------------------------------------------------------

    def put(self, envelopes: Iterable[Envelope], now: int) -> list[Outcome]:
        """Keep what is not yet kept."""
        return [self._put(envelope, now) for envelope in envelopes]

    def full(self, envelopes: Sequence[Envelope]) -> str:
        """Return the queue that cannot take its part of the envelopes, empty if all can."""
        if not self.throttles:
            return ""
        for queue, number in Counter(envelope.queue for envelope in envelopes).items():
            throttle = self.throttles.get(queue)
            room = throttle.limits.max_ready - self.waiting(queue) if throttle is not None else 0
            if throttle is None or not throttle.limits.max_ready or number <= room:
                continue
            new = (e for e in envelopes if e.queue == queue and self.look_up(e.id) is None)
            if sum(1 for _ in new) > room:
                return queue
        return ""

    def waiting(self, queue: str) -> int:
        """Return how many wait in a queue: ready, scheduled or blocked."""
        counts = self.counts.get(queue)
        return counts[READY] + counts[SCHEDULED] + counts[BLOCKED] if counts else 0

    def _put(self, new: Envelope, now: int) -> Outcome:
        rules = rules_of(new)
        if rules.key:
            holder = self._retained.claim_key(rules.key, new.id, now)
            if holder != new.id:
                return Outcome(holder, duplicate=True)
        lane, place = new.concurrency_key, _READY_AT_ONCE
        if lane and new.due <= now:
            place = self.lanes.find_place(lane, new.queue, new.priority, rules.concurrency)
        state = SCHEDULED if new.due > now else READY if place.is_ready else BLOCKED
        headers = schema.write_headers(new.headers)
        row = (new.id, new.name, new.queue, new.priority, new.due, now, headers, new.body, state)
        if not self._transaction.change(
            _PUT, (*row, lane, write_rules(rules), new.sender)
        ).rowcount:
            return Outcome(new.id, duplicate=True)
        self.count(new.queue, state, 1)
        self.events += LISTENER in new.headers
        if state == SCHEDULED:
            self.expect(new.due)
        elif place.instead_of is not None:
            self.lanes.block(*place.instead_of)
        return Outcome(new.id)

    def take(
        self, owner: str, connection: int, queues: Sequence[str], n: int, now: int
    ) -> list[Lease]:
        """Lease up to `n` of what is ready, going through the queues in the order given."""
        leases: list[Lease] = []
        for queue in queues:
            counts = self.counts.get(queue)
            if counts is None or not counts[READY]:
                continue
            wanted, throttle = n - len(leases), self.throttles.get(queue)
            if throttle is not None:
                wanted = throttle.allows(wanted, counts[LEASED], now)
            if wanted:
                taken = self._take(owner, connection, queue, wanted)
                leases += taken
                if throttle is not None:
                    throttle.passed(len(taken), now)
            if len(leases) == n:
                break
        return leases

    def _take(self, owner: str, connection: int, queue: str, n: int) -> list[Lease]:
        self.serial += 1
        serial = self.serial
        rows = self._transaction.change(_TAKE, (owner, serial, queue, n)).fetchall()
        # RETURNING keeps no order of its own.
        try:
            rows.sort(key=lambda row: (-row[7], row[0]))
        except TypeError as error:
            raise schema.Damaged(f"a priority is no number: {error}") from error
        counts = self.counts[queue]
        if len(rows) < min(n, counts[READY]):
            raise schema.Damaged(f"the index of what is ready in {queue} does not lead there")
        counts[READY] -= len(rows)
        counts[LEASED] += len(rows)
        leases = []
        for row in rows:
            lane, rules = row[8], read_rules(row[10])
            envelope = schema.make_envelope(row[1:10], rules)
            is_event = LISTENER in envelope.headers
            self.held[row[0]] = HeldLease(
                serial, owner, connection, row[1], queue, lane, rules, is_event
            )
            leases.append(Lease(envelope, f"{row[0]}-{serial}", *row[11:]))
            if lane:
                self.lanes.leased[lane] += 1
        return leases

    def promote(self, now: int) -> None:
        """Make ready what is due."""
        if self.next_due is None or self.next_due > now:
            return
        for seq, queue, priority, lane, rules in self._transaction.change(
            _PROMOTE, (now, _PROMOTED_AT_ONCE)
        ).fetchall():
            self._move(queue, SCHEDULED, BLOCKED if lane else READY)
            if lane:
                concurrency = read_rules(rules).concurrency
                place = self.lanes.find_place(lane, queue, priority, concurrency, seq)
                self.lanes.take_place(seq, queue, place)
        self.learn_next_due()

    # -- the end of a lease ----------------------------------------------------------------------

    def settle(self, marks: Iterable[Mark], now: int) -> list[bool]:
        """End leases; False for those that are no longer held under this token."""
        return [self._settle(mark, now) for mark in marks]

    def still(self, tokens: Iterable[str]) -> list[bool]:
        """Return which of these leases are held."""
        return [self._holding(token) is not None for token in tokens]

    def note(self, token: str, text: str) -> bool:
        seq = self._holding(token)
        if seq is not None:
            self._transaction.change(_NOTE, (text, seq))
        return seq is not None

    def adopt(self, owner: str, connection: int, tokens: Sequence[str], now: int) -> list[bool]:
        """Return leases to a holder that reconnected; False for those it has lost.

        What was leased to this owner and is not named never reached it, and is given back.
        """
        kept = [self._adopt(owner, connection, token) for token in tokens]
        for seq, held in list(self.held.items()):
            if held.connection == NOBODY and held.owner == owner:
                self._give_back(seq, held, lost=False, now=now)
        return kept

    def give_back(self, connection: int, lost: bool, now: int) -> None:
        """Make ready what a connection has leased, counted as losses or not."""
        for seq, held in list(self.held.items()):
            if held.connection == connection:
                self._give_back(seq, held, lost, now)

    def take_from(self, owner: str, now: int) -> int:
        """Make ready, as losses, what an owner has leased; return how many."""
        lost = [(seq, held) for seq, held in self.held.items() if held.owner == owner]
        for seq, held in lost:
            self._give_back(seq, held, lost=True, now=now)
        return len(lost)

    def _holding(self, token: str) -> int | None:
        """Return the number of the row that is held under this token."""
        seq, _, serial = token.partition("-")
        if not seq.isdecimal() or len(seq) > schema.LONGEST_SEQ:
            return None
        held = self.held.get(int(seq))
        return int(seq) if held is not None and str(held.serial) == serial else None

    def _settle(self, mark: Mark, now: int) -> bool:
        seq = self._holding(mark.token)
        if seq is None:
            return False
        held = self._release(seq)
        self._tally.settled(mark, held.queue, held.cancelled)
        match mark.verdict:
            case "done":
                self._transaction.change(_FORGET, (seq,))
                self.counts[held.queue][LEASED] -= 1
                self.events -= held.is_event
                if any(envelope.id == held.id for envelope in mark.then):
                    self._leave_lane(held.lane)  # it has not ended: it begins again
                else:
                    self._end(held, Result(held.id, "done", mark.result), now)
            case "dead":
                reason = mark.reason
                self._transaction.change(_BURY, (reason == CUT_OFF, reason, mark.error, now, seq))
                self._transaction.change(_FORGET, (seq,))
                self._move(held.queue, LEASED, DEAD)
                self.events -= held.is_event
                self._end(held, Result(held.id, "dead", error=mark.error), now)
            case _ if held.cancelled:
                self._cancel(seq, held, LEASED, now)
            case "retry" | "release" | "cut":
                self._wait(seq, held, mark, now)
        if mark.then:
            self.put(mark.then, now)
        return True

    def _wait(self, seq: int, held: HeldLease, mark: Mark, now: int) -> None:
        state = SCHEDULED if mark.at > now else BLOCKED if held.lane else READY
        counts = (mark.verdict == "retry", mark.verdict == "cut")
        self._transaction.change(_WAIT, (state, mark.at, *counts, mark.error, mark.error, seq))
        self._move(held.queue, LEASED, state)
        if state == SCHEDULED:
            self.expect(mark.at)
        self._leave_lane(held.lane)

    def _adopt(self, owner: str, connection: int, token: str) -> bool:
        seq = self._holding(token)
        if seq is None or self.held[seq].owner != owner:
            return False
        self.held[seq] = self.held[seq]._replace(connection=connection)
        return True

    def _give_back(self, seq: int, held: HeldLease, lost: bool, now: int) -> None:
        self._release(seq)
        if held.cancelled:
            self._cancel(seq, held, LEASED, now)
            return
        self._transaction.change(_GIVE_BACK, (lost, seq))
        self._move(held.queue, LEASED, BLOCKED if held.lane else READY)
        self._leave_lane(held.lane)

    def _release(self, seq: int) -> HeldLease:
        held = self.let_go[seq] = self.held.pop(seq)
        return held

    # -- the end of a delivery -------------------------------------------------------------------

    def look_up(self, delivery: str) -> Found | None:
        """Return a delivery that waits or is leased."""
        row = self._transaction.read(_FIND, (delivery,)).fetchone()
        if row is None:
            return None
        seq, id_, queue, state, lane, rules, is_event = row
        return Found(seq, id_, queue, state, lane, read_rules(rules), bool(is_event))

    def flag(self, seq: int) -> int:
        """Cancel a leased delivery; return the connection that holds it."""
        self._transaction.change(_FLAG, (seq,))
        held = self.held[seq] = self.held[seq]._replace(cancelled=True)
        return held.connection

    def remove(self, found: Found, now: int) -> None:
        """Cancel a delivery that waits."""
        self._cancel(found.seq, found, found.state, now)

    def forget_dead(self, delivery: str) -> bool:
        queues = self._transaction.change(_FORGET_DEAD, (delivery,)).fetchall()
        for (queue,) in queues:
            self.count(queue, DEAD, -1)
        return bool(queues)

    def _cancel(self, seq: int, who: HeldLease | Found, state: int, now: int) -> None:
        self._transaction.change(_FORGET, (seq,))
        self.counts[who.queue][state] -= 1
        self.events -= who.is_event
        self._retained.keep_result(Result(who.id, "cancelled"), now + _CANCELLED_KEPT)
        if who.rules.key:
            self._retained.leave_key(who.rules.key, who.id, 0)
        if state == LEASED:
            self._leave_lane(who.lane)
        elif who.lane:
            self.lanes.fill(who.lane)

    def _end(self, held: HeldLease, result: Result, now: int) -> None:
        """Apply the rules for the end, and let the next in the lane start."""
        rules = held.rules
        if rules is not NO_RULES:
            if rules.keep_result:
                self._retained.keep_result(result, now + rules.keep_result)
            if rules.key:
                until = now + rules.unique_for if rules.unique_for else 0
                self._retained.leave_key(rules.key, held.id, until)
        self._leave_lane(held.lane)

    def _leave_lane(self, lane: str) -> None:
        if lane:
            self.lanes.left(lane)

    # -- in memory -------------------------------------------------------------------------------

    def count(self, queue: str, state: int, number: int) -> None:
        self.counts.setdefault(queue, [0, 0, 0, 0, 0])[state] += number

    def expect(self, due: int) -> None:
        self.next_due = due if self.next_due is None else min(self.next_due, due)

    def learn_next_due(self) -> None:
        """Look up when the next is due."""
        (self.next_due,) = self._transaction.read(
            "SELECT min(due) FROM delivery WHERE state = 1"
        ).fetchone()

    def _move(self, queue: str, before: int, after: int) -> None:
        counts = self.counts[queue]
        counts[before] -= 1
        counts[after] += 1
