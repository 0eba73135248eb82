"""queue.db as a whole: opened by its one writer, changed in transactions, queried.

A transaction is any number of changes, then `commit` or `rollback`. No reply about a change may be
sent before the commit.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from skep.base.errors import EngineError
from skep.engine.contract import CountedStep, DeliveryRow, Hold, QueueLimits, QueueStats
from skep.engine.protocol import Find, Scan
from skep.store.file import opening, schema
from skep.store.file.damage import DAMAGE, Damage, is_damage, read_damages, write_damages
from skep.store.file.schema import BLOCKED, DEAD, LEASED, READY, SCHEDULED, read_rules
from skep.store.state.deliveries import NOBODY, Deliveries, HeldLease
from skep.store.state.operator_edits import OperatorEdits
from skep.store.state.queue_limits import NO_LIMITS, Throttle
from skep.store.state.retained import Retained
from skep.store.state.tally import Tally
from skep.store.state.transaction import Transaction

log = logging.getLogger(__name__)

# The first of each priority, found by stepping down the index: a queue of a million costs the same.
_OLDEST = """
WITH RECURSIVE level (priority) AS (
    SELECT max(priority) FROM delivery WHERE state = 0 AND queue = ?1
    UNION ALL
    SELECT (SELECT max(priority) FROM delivery
            WHERE state = 0 AND queue = ?1 AND priority < level.priority)
    FROM level WHERE level.priority IS NOT NULL)
SELECT min((SELECT put_at FROM delivery
            WHERE state = 0 AND queue = ?1 AND priority = level.priority ORDER BY seq LIMIT 1))
FROM level"""
_COUNTS = f"""
SELECT queue, state, count(*), sum({schema.IS_EVENT}) FROM delivery GROUP BY queue, state
UNION ALL SELECT queue, {DEAD}, count(*), 0 FROM dead GROUP BY queue"""
_LEASED = f"""
SELECT seq, serial, holder, id, queue, lane, rules, cancelled, {schema.IS_EVENT} FROM delivery
WHERE state = {LEASED}"""
_PAUSE = """
INSERT INTO queue (name, paused) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused"""
_LIMIT = """
INSERT INTO queue (name, limits) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET limits = excluded.limits"""
# The epoch stays the same when a hold is renewed, and grows with each new holder.
_GRASP = """
INSERT INTO hold (name, token, epoch, until) VALUES (?1, ?2, 1, ?3)
ON CONFLICT (name) DO UPDATE SET
    token = excluded.token, until = excluded.until, epoch = epoch + (token != excluded.token)
    WHERE token = excluded.token OR until <= ?4
RETURNING name, token, epoch, until"""

# What operators look up.
_SHOWN = f"seq, {schema.COLUMNS}, rules, attempt, losses, put_at"
_WAITING = f"SELECT {_SHOWN}, holder, '', error, progress, cancelled, cuts, state FROM delivery"
_DEAD = f"SELECT {_SHOWN}, '', reason, error, '', 0, cuts, 3 FROM dead"
_PAGE = "seq > ? ORDER BY seq LIMIT ?"

# Serials begin with the seconds since this moment, so that the tokens of a new file never equal
# those of the file before it.
_SERIALS_FROM = 1_700_000_000


class Database:
    """What the store keeps; `moves`, `retained` and `edits` change it.

    `damaged` is called whenever damage to the file was found.
    """

    def __init__(
        self, path: Path, run_id: str, now: int, damaged: Callable[[], None] = lambda: None
    ) -> None:
        """Open the file for this run of the platform."""
        self.path = path
        self._damaged = damaged
        self._sqlite = opening.connect(path, damaged)
        self._transaction = Transaction(self._sqlite)
        self._log_pages = 0
        # Damage to the file that no operator has acknowledged.
        self.damages: list[Damage] = []
        self.retained = Retained(self._transaction)
        self.tally = Tally(self._transaction)
        self.moves = Deliveries(self._transaction, self.retained, self.tally)
        self.edits = OperatorEdits(self._transaction, self.moves, self.retained)
        # Whether the file was last open in this same run. If it was, the holders of its leases may
        # be alive and reconnect. If not, they are dead or dying, and their leases are given back.
        self.same_run: bool
        try:
            self._begin(run_id, now)
        except DAMAGE as error:
            self._transaction.rollback()
            if self.in_memory or not is_damage(error):
                raise
            self.repair(error)
            self._begin(run_id, now)

    def _begin(self, run_id: str, now: int) -> None:
        """Load the state from the file, and record that this run has it open."""
        meta = dict(self._transaction.read("SELECT key, value FROM meta").fetchall())
        last = int(start) if (start := meta.get("start", "")).isdecimal() else 0
        start_now = max(last + 1, now // 1000 - _SERIALS_FROM)
        self.moves.serial = start_now << 32
        self.same_run = meta.get("run") == run_id
        self._load({})
        self._note("start", str(start_now))
        self._note("run", run_id)
        self.damages = read_damages(meta.get("damage", ""))
        if not self.same_run:
            self.moves.give_back(NOBODY, lost=True, now=now)
        self.commit()

    def _note(self, key: str, value: str) -> None:
        self._transaction.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file, merging its log into it."""
        self._sqlite.close()

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self.path == schema.IN_MEMORY

    def _load(self, known: Mapping[int, HeldLease]) -> None:
        """Load from the file what is kept in memory.

        The connections of leases are not in the file; they are taken from those `known` already.
        """
        moves = self.moves
        # Read everything before changing anything: the file may be damaged.
        counted = self._transaction.read(_COUNTS).fetchall()
        leased = self._transaction.read(_LEASED).fetchall()
        moves.counts.clear()
        moves.events = sum(events or 0 for *_, events in counted)
        for queue, state, number, _ in counted:
            moves.count(queue, state, number)
        moves.held.clear()
        for seq, serial, owner, id_, queue, lane, rules, cancelled, is_event in leased:
            before = known.get(seq)
            connection = before.connection if before and before.serial == serial else NOBODY
            kept = (id_, queue, lane, read_rules(rules), bool(is_event), bool(cancelled))
            moves.held[seq] = HeldLease(serial, owner, connection, *kept)
        for name, paused, limits in self._transaction.read(
            "SELECT name, paused, limits FROM queue"
        ):
            throttle = moves.throttles.setdefault(name, Throttle())
            throttle.paused = bool(paused)
            throttle.limits = msgspec.json.decode(limits, type=QueueLimits) if limits else NO_LIMITS
        self.tally.load()
        lanes = (held.lane for held in moves.held.values() if held.lane)
        moves.lanes.learn(lanes, self._paused())
        moves.learn_next_due()

    # -- damage, between transactions ------------------------------------------------------------

    def repair(self, error: Exception) -> None:
        """Repair the file in place, or else write what can be read to a new one.

        Raises EngineError when neither is possible.
        """
        why = f"is damaged ({error})"
        try:
            damage = opening.mend(self._sqlite, self.path, why)
        except DAMAGE as insufficient:
            log.warning("The queue cannot be mended where it lies: %s", insufficient)
            self.rewrite(why)
        else:
            self._take_up(damage)

    def rewrite(self, why: str) -> None:
        """Write all that can be read through the open connection to a new file, and use that.

        Raises EngineError when that is not possible.
        """
        try:
            damage = opening.rewrite(self._sqlite, self.path, why)
            self._sqlite = opening.connect(self.path, self._damaged)
        except (sqlite3.Error, OSError) as failure:
            raise EngineError(
                f"The queue in {self.path} {why}, and what is held cannot be written to a new "
                f"file ({failure})."
            ) from failure
        self._transaction.go_on_with(self._sqlite)
        if self._log_pages:
            self.limit_log(self._log_pages)
        self._take_up(damage)

    def acknowledge(self) -> list[str]:
        """Forget the damages; return what they were."""
        whats = [damage.what for damage in self.damages]
        self.damages = []
        self._note("damage", write_damages([]))
        return whats

    def _take_up(self, damage: Damage) -> None:
        self.damages.append(damage)
        self._damaged()
        self._load({**self.moves.held, **self.moves.let_go})
        self.moves.let_go.clear()

    # -- a transaction ---------------------------------------------------------------------------

    def commit(self) -> None:
        """Write the transaction to the log; see `Transaction.commit`."""
        self.tally.write()
        self._transaction.commit()
        self.tally.committed()
        self.moves.let_go.clear()

    def rollback(self) -> None:
        """Undo the transaction, in the file and in memory.

        Raises one of DAMAGE when the file is damaged; what it holds is learned when it is mended.
        """
        self._transaction.rollback()
        self.retained.fresh.clear()
        self.edits.flagged.clear()
        self._load({**self.moves.held, **self.moves.let_go})
        self.moves.let_go.clear()

    # -- queues ----------------------------------------------------------------------------------

    def pause(self, queues: Sequence[str], paused: bool) -> None:
        for queue in queues:
            self._transaction.change(_PAUSE, (queue, paused))
            self.moves.throttles.setdefault(queue, Throttle()).paused = paused
        self.moves.lanes.pause(self._paused())

    def configure(self, limits: Mapping[str, QueueLimits]) -> None:
        """Set the limits of these queues, and remove those of all others."""
        for queue in limits.keys() | self.moves.throttles.keys():
            wanted = limits.get(queue, NO_LIMITS)
            throttle = self.moves.throttles.setdefault(queue, Throttle())
            if throttle.limits != wanted:
                self._transaction.change(_LIMIT, (queue, msgspec.json.encode(wanted).decode()))
                throttle.limits = wanted

    def expect(self, steps: Sequence[CountedStep]) -> None:
        """Show what is counted of these steps, and that their queues are empty."""
        self.tally.expect(steps)
        for step in steps:
            self.moves.count(step.queue, READY, 0)

    # -- names that one process holds for a while ------------------------------------------------

    def grasp(self, name: str, token: str, ttl: int, now: int) -> Hold | None:
        """Hold a name, or renew the hold; None if another token holds it. Raises Damaged."""
        row = self._transaction.change(_GRASP, (name, token, now + ttl, now)).fetchone()
        if row is not None and not type(row[2]) is type(row[3]) is int:
            raise schema.Damaged(f"the epoch of {name} is {row[2]!r}, held until {row[3]!r}")
        return None if row is None else Hold(*row)

    def drop(self, name: str, token: str) -> None:
        """Release a hold; its row keeps the epoch."""
        sql = "UPDATE hold SET until = 0, token = '' WHERE name = ? AND token = ?"
        self._transaction.change(sql, (name, token))

    # -- housekeeping, between transactions ------------------------------------------------------

    @property
    def commits(self) -> int:
        return self._transaction.commits

    def vacuum(self, pages: int) -> bool:
        """Free up to so many empty pages; return whether there were any. The disk regains them when
        the log is merged."""
        if not self._sqlite.execute("PRAGMA freelist_count").fetchone()[0]:
            return False
        # It frees a page a step, and `execute` makes but one step of what returns no columns.
        self._sqlite.executescript(f"PRAGMA incremental_vacuum({pages})")
        return True

    def limit_log(self, pages: int) -> None:
        """Merge the log into the file whenever it has reached so many pages."""
        self._log_pages = pages
        self._sqlite.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def shorten_log(self) -> None:
        """Merge the log into the file now, and cut it."""
        self._sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # -- questions -------------------------------------------------------------------------------

    def next_wake(self, now: int) -> int | None:
        """Return when the next delivery is due or allowed by a rate."""
        moves = self.moves
        moments = [moves.next_due] if moves.next_due is not None else []
        for queue, throttle in moves.throttles.items():
            if queue in moves.counts and moves.counts[queue][READY]:
                opening = throttle.opens_at(now)
                moments += [opening] if opening is not None else []
        return min(moments, default=None)

    def look_up(self, ask: Scan | Find) -> list[DeliveryRow]:
        """Return the delivery of an id, waiting or leased, or else dead; or up to `n` rows of one
        queue and state, from the one after the place `after`.

        It sees what is committed, and does not block the writer. If there is a file, any thread may
        call it.
        """
        own = closing(schema.connect_to_read(self.path)) if not self.in_memory else None
        with own or nullcontext(self._sqlite) as reader:
            if isinstance(ask, Find):
                tables = (_WAITING, _DEAD)
                rows = [reader.execute(f"{t} WHERE id = ?", (ask.id,)).fetchone() for t in tables]
                return [_row(row) for row in rows if row is not None][:1]
            is_place = ask.after.isdecimal() and len(ask.after) <= schema.LONGEST_SEQ
            page = (int(ask.after) if is_place else 0, ask.n)
            if ask.state == "dead":
                found = reader.execute(f"{_DEAD} WHERE queue = ? AND {_PAGE}", (ask.queue, *page))
            else:
                sql = f"{_WAITING} WHERE queue = ? AND state = ? AND {_PAGE}"
                found = reader.execute(sql, (ask.queue, schema.STATES.index(ask.state), *page))
            return [_row(row) for row in found]

    def ready_queues(self) -> list[str]:
        """Return the queues in which something is ready."""
        return [queue for queue, counts in self.moves.counts.items() if counts[READY]]

    def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything or is paused."""
        paused = self._paused()
        full = {queue for queue, counts in self.moves.counts.items() if any(counts)}
        found = {}
        for queue in sorted(full | paused):
            counts = self.moves.counts.get(queue, (0, 0, 0, 0, 0))
            ready = counts[READY]
            oldest = self._transaction.read(_OLDEST, (queue,)).fetchone()[0] if ready else 0
            found[queue] = QueueStats(
                ready=ready,
                scheduled=counts[SCHEDULED],
                leased=counts[LEASED],
                dead=counts[DEAD],
                oldest=oldest,
                blocked=counts[BLOCKED],
                paused=queue in paused,
            )
        return found

    def _paused(self) -> set[str]:
        return {queue for queue, throttle in self.moves.throttles.items() if throttle.paused}


def _row(row: tuple[Any, ...]) -> DeliveryRow:
    (seq, *columns), (rules, *rest, cancelled, cuts, state) = row[:10], row[10:]
    rest += [bool(cancelled), cuts]
    envelope = schema.make_envelope(columns, read_rules(rules))
    return DeliveryRow(envelope, str(seq), schema.STATES[state], *rest)
