"""queue.db as a whole: opened by its one writer, changed in transactions, queried.

A transaction is any number of changes, then `commit` or `rollback`. No reply about a change may be
sent before the commit.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from skep.base.errors import EngineError
from skep.engine.contract import QueueLimits, QueueStats
from skep.store.file import opening, schema
from skep.store.file.damage import DAMAGE, Damage, is_damage, read_damages, write_damages
from skep.store.file.rules import read_rules
from skep.store.file.schema import BLOCKED, DEAD, LEASED, READY, SCHEDULED
from skep.store.state.deliveries import (
    NOBODY,
    Deliveries,
    HeldLease,
)
from skep.store.state.keys import Keys
from skep.store.state.leader import Holds
from skep.store.state.operator_edits import OperatorEdits
from skep.store.state.queue_limits import NO_LIMITS, Throttle
from skep.store.state.restoring import Restoring
from skep.store.state.results import Results
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
SELECT queue, state, count(*) FROM delivery GROUP BY queue, state
UNION ALL SELECT queue, {DEAD}, count(*) FROM dead GROUP BY queue"""
_LEASED = f"""
SELECT seq, serial, holder, id, queue, lane, rules, cancelled FROM delivery
WHERE state = {LEASED}"""
_PAUSE = """
INSERT INTO queue (name, paused) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused"""
_LIMIT = """
INSERT INTO queue (name, limits) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET limits = excluded.limits"""


# Serials begin with the seconds since this moment, so that the tokens of a new file never equal
# those of the file before it.
_SERIALS_FROM = 1_700_000_000


class Database:
    """What the store keeps; `moves`, `holds`, `results` and `edits` change it.

    `damaged` is called whenever damage to the file was found.
    """

    def __init__(self, path: Path, damaged: Callable[[], None] = lambda: None) -> None:
        self._damaged = damaged
        self._path = path
        self._sqlite: sqlite3.Connection
        self._transaction: Transaction
        self._log_pages = 0
        # Damage to the file that no operator has acknowledged.
        self.damages: list[Damage] = []
        self.moves: Deliveries
        self.holds: Holds
        self.keys: Keys
        self.results: Results
        self.edits: OperatorEdits
        self.restoring: Restoring

    # -- opening and closing ---------------------------------------------------------------------

    def open(self, run_id: str, now: int) -> bool:
        """Open the file; return whether it was last open in this same run of the platform.

        If it was, the holders of its leases may be alive and reconnect. If not, they are dead or
        dying, and their leases are given back at once.
        """
        self._sqlite = opening.connect(self._path, self._damaged)
        self._transaction = Transaction(self._sqlite)
        self.keys, self.results = Keys(self._transaction), Results(self._transaction)
        self.holds = Holds(self._transaction)
        self.moves = Deliveries(self._transaction, self.keys, self.results)
        self.edits = OperatorEdits(self._transaction, self.moves, self.results)
        self.restoring = Restoring(self._transaction, self.moves)
        try:
            return self._begin(run_id, now)
        except DAMAGE as error:
            self._transaction.rollback()
            if self.in_memory or not is_damage(error):
                raise
            self.repair(error)
            return self._begin(run_id, now)

    def _begin(self, run_id: str, now: int) -> bool:
        """Load the state from the file, and record that this run has it open."""
        meta = dict(self._transaction.read("SELECT key, value FROM meta").fetchall())
        last = int(start) if (start := meta.get("start", "")).isdecimal() else 0
        start_now = max(last + 1, now // 1000 - _SERIALS_FROM)
        self.moves.serial = start_now << 32
        same_run = meta.get("run") == run_id
        self._load({})
        self._note("start", str(start_now))
        self._note("run", run_id)
        self.damages = read_damages(meta.get("damage", ""))
        if not same_run:
            self.moves.give_back(NOBODY, lost=True, now=now)
        self.commit()
        return same_run

    def _note(self, key: str, value: str) -> None:
        self._transaction.change("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file, merging its log into it."""
        self._sqlite.close()

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees what is committed; for any thread, if there is a file."""
        if self.in_memory:
            yield self._sqlite
        else:
            with closing(schema.connect_to_read(self._path)) as connection:
                yield connection

    @property
    def in_memory(self) -> bool:
        """Whether there is no file."""
        return self._path == schema.IN_MEMORY

    def _load(self, known: Mapping[int, HeldLease]) -> None:
        """Load from the file what is kept in memory.

        The connections of leases are not in the file; they are taken from those `known` already.
        """
        moves = self.moves
        # Read everything before changing anything: the file may be damaged.
        counted = self._transaction.read(_COUNTS).fetchall()
        leased = self._transaction.read(_LEASED).fetchall()
        moves.counts.clear()
        for queue, state, number in counted:
            moves.count(queue, state, number)
        moves.held.clear()
        for seq, serial, owner, id_, queue, lane, rules, cancelled in leased:
            before = known.get(seq)
            connection = before.connection if before and before.serial == serial else NOBODY
            moves.held[seq] = HeldLease(
                serial, owner, connection, id_, queue, lane, read_rules(rules), bool(cancelled)
            )
        self._load_throttles()
        lanes = (held.lane for held in moves.held.values() if held.lane)
        moves.lanes.learn(lanes, self._paused())
        moves.learn_next_due()

    def _load_throttles(self) -> None:
        for name, paused, limits in self._transaction.read(
            "SELECT name, paused, limits FROM queue"
        ):
            throttle = self.moves.throttles.setdefault(name, Throttle())
            throttle.paused = bool(paused)
            throttle.limits = msgspec.json.decode(limits, type=QueueLimits) if limits else NO_LIMITS

    # -- damage, between transactions ------------------------------------------------------------

    def repair(self, error: Exception) -> None:
        """Repair the file in place, or else write what can be read to a new one.

        Raises EngineError when neither is possible.
        """
        why = f"is damaged ({error})"
        try:
            damage = opening.mend(self._sqlite, self._path, why)
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
            damage = opening.rewrite(self._sqlite, self._path, why)
            self._sqlite = opening.connect(self._path, self._damaged)
        except (sqlite3.Error, OSError) as failure:
            raise EngineError(
                f"The queue in {self._path} {why}, and what is held cannot be written to a new "
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
        """Load the state again from the repaired file."""
        self.damages.append(damage)
        self._damaged()
        self._load({**self.moves.held, **self.moves.let_go})
        self.moves.let_go.clear()

    # -- a transaction ---------------------------------------------------------------------------

    def commit(self) -> None:
        """Write the transaction to the log; see `Transaction.commit`."""
        self._transaction.commit()
        self.moves.let_go.clear()

    def rollback(self) -> None:
        """Undo the transaction, in the file and in memory.

        Raises one of DAMAGE when the file is damaged; what it holds is learned when it is mended.
        """
        self._transaction.rollback()
        self.results.fresh.clear()
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

    # -- housekeeping, between transactions ------------------------------------------------------

    def sweep(self, now: int) -> None:
        self.keys.sweep(now)
        self.results.sweep(now)

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

    def ready_queues(self) -> list[str]:
        """Return the queues in which something is ready."""
        return [queue for queue, counts in self.moves.counts.items() if counts[READY]]

    def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything or is paused."""
        paused = self._paused()
        full = {queue for queue, counts in self.moves.counts.items() if any(counts)}
        return {queue: self._stats(queue, queue in paused) for queue in sorted(full | paused)}

    def _paused(self) -> set[str]:
        return {queue for queue, throttle in self.moves.throttles.items() if throttle.paused}

    def _stats(self, queue: str, paused: bool) -> QueueStats:
        counts = self.moves.counts.get(queue, (0, 0, 0, 0, 0))
        oldest = self._transaction.read(_OLDEST, (queue,)).fetchone()[0] if counts[READY] else 0
        return QueueStats(
            ready=counts[READY],
            scheduled=counts[SCHEDULED],
            leased=counts[LEASED],
            dead=counts[DEAD],
            oldest=oldest,
            blocked=counts[BLOCKED],
            paused=paused,
        )
