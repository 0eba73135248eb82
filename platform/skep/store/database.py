"""The moves of the store, as rows: many of them in one transaction, and what is known by heart.

A turn is `begin`, any number of moves, then `commit` or `rollback`. The moves decide by what is in
memory (who holds what, how much is in which state) and write rows; nothing of a turn may be told
to anybody before its commit.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skep.engine.base import Envelope, Lease, Outcome, QueueStats
from skep.engine.protocol import Mark
from skep.store import file

READY, SCHEDULED, LEASED, DEAD = range(4)
# The connection of a lease whose holder has not been heard of since the store started.
NOBODY = 0
# Rows made ready in one turn: more would hold up the others of that turn.
_PROMOTED_AT_ONCE = 500

_PUT = """
INSERT INTO delivery (id, name, queue, priority, due, put_at, headers, body, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_TAKE = """
UPDATE delivery SET state = 2, holder = ?, serial = ? WHERE seq IN (
    SELECT seq FROM delivery WHERE state = 0 AND queue = ? ORDER BY priority DESC, seq LIMIT ?)
RETURNING seq, id, name, body, queue, headers, due, priority, attempt, losses, put_at"""
_PROMOTE = """
UPDATE delivery SET state = 0 WHERE seq IN (
    SELECT seq FROM delivery WHERE state = 1 AND due <= ? ORDER BY due LIMIT ?)
RETURNING queue"""
_WAIT = """
UPDATE delivery SET state = ?, due = max(due, ?), attempt = attempt + ?, holder = ''
WHERE seq = ?"""
_GIVE_BACK = "UPDATE delivery SET state = 0, losses = losses + ?, holder = '' WHERE seq = ?"
_FORGET = "DELETE FROM delivery WHERE seq = ?"
_BURY = """
INSERT OR REPLACE INTO dead (id, name, queue, priority, due, put_at, headers, body, attempt, losses,
                             reason, error, died_at)
SELECT id, name, queue, priority, due, put_at, headers, body, attempt, losses, ?, ?, ?
FROM delivery WHERE seq = ?"""
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


class _Held(NamedTuple):
    serial: int
    owner: str
    connection: int
    queue: str


class Database:
    """queue.db, opened by its one writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sqlite: sqlite3.Connection
        self._held: dict[int, _Held] = {}
        self._counts: dict[str, list[int]] = {}
        self._serial = 0
        self._next_due: int | None = None
        self._before: tuple[dict[int, _Held], dict[str, list[int]]] = ({}, {})

    # -- opening and closing ---------------------------------------------------------------------

    def open(self, run_id: str) -> bool:
        """Open the file; say whether it was last open in this same run of the platform.

        If it was, the holders of its leases may live and come back for them. If not, they are dead
        or dying, and their leases are given back at once.
        """
        self._sqlite = file.connect(self._path)
        meta = dict(self._sqlite.execute("SELECT key, value FROM meta"))
        # Serials of one start never meet those of another, so that no token is ever made twice.
        start = int(meta.get("start", "0")) + 1
        self._serial = start << 32
        same_run = meta.get("run") == run_id
        self._learn()
        self.begin()
        self._change("INSERT OR REPLACE INTO meta VALUES ('start', ?)", (str(start),))
        self._change("INSERT OR REPLACE INTO meta VALUES ('run', ?)", (run_id,))
        if not same_run:
            self.give_back(NOBODY, lost=True)
        self.commit()
        return same_run

    def close(self) -> None:
        """Close the file; its log is merged into it."""
        self._sqlite.close()

    def _learn(self) -> None:
        """Take from the file what is known by heart from then on."""
        for queue, state, number in self._sqlite.execute(
            "SELECT queue, state, count(*) FROM delivery GROUP BY queue, state "
            f"UNION ALL SELECT queue, {DEAD}, count(*) FROM dead GROUP BY queue"
        ):
            self._count(queue, state, number)
        for seq, serial, owner, queue in self._sqlite.execute(
            "SELECT seq, serial, holder, queue FROM delivery WHERE state = 2"
        ):
            self._held[seq] = _Held(serial, owner, NOBODY, queue)
        self._learn_next_due()

    # -- a turn ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a turn."""
        self._before = (self._held.copy(), {q: c.copy() for q, c in self._counts.items()})

    def commit(self) -> None:
        """Write the turn to the log, where it survives the death of this process.

        Raises sqlite3.Error; the turn can then only be rolled back.
        """
        if self._sqlite.in_transaction:
            self._sqlite.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the turn, in the file and in memory."""
        if self._sqlite.in_transaction:  # SQLite may have rolled back by itself
            self._sqlite.execute("ROLLBACK")
        self._held, self._counts = self._before
        self._learn_next_due()

    # -- the moves -------------------------------------------------------------------------------

    def put(self, envelopes: Iterable[Envelope], now: int) -> list[Outcome]:
        """Keep what is not kept already."""
        return [self._put(envelope, now) for envelope in envelopes]

    def take(self, owner: str, connection: int, queues: Sequence[str], n: int) -> list[Lease]:
        """Lease up to `n` of what is ready, going through the queues in the order given."""
        leases: list[Lease] = []
        for queue in queues:
            if len(leases) == n:
                break
            if queue in self._counts and self._counts[queue][READY]:
                leases += self._take(owner, connection, queue, n - len(leases))
        return leases

    def settle(self, marks: Iterable[Mark], now: int) -> list[bool]:
        """End leases; False for those that are not held under this token any more."""
        return [self._settle(mark, now) for mark in marks]

    def adopt(self, owner: str, connection: int, tokens: Sequence[str]) -> list[bool]:
        """Let a holder that came back have its leases again; False for those it has lost.

        What this owner was handed out and does not name has never reached it, and goes back.
        """
        kept = [self._adopt(owner, connection, token) for token in tokens]
        for seq, held in list(self._held.items()):
            if held.connection == NOBODY and held.owner == owner:
                self._give_back(seq, held, lost=False)
        return kept

    def give_back(self, connection: int, lost: bool) -> None:
        """Make ready what is leased by a connection, counted as a loss or not."""
        for seq, held in list(self._held.items()):
            if held.connection == connection:
                self._give_back(seq, held, lost)

    def promote(self, now: int) -> None:
        """Make ready what is due."""
        if self._next_due is None or self._next_due > now:
            return
        for (queue,) in self._change(_PROMOTE, (now, _PROMOTED_AT_ONCE)).fetchall():
            self._move(queue, SCHEDULED, READY)
        self._learn_next_due()

    # -- questions -------------------------------------------------------------------------------

    @property
    def next_due(self) -> int | None:
        """When the next scheduled delivery may be due; never later than it is."""
        return self._next_due

    def ready_queues(self) -> list[str]:
        """Return the queues in which something is ready."""
        return [queue for queue, counts in self._counts.items() if counts[READY]]

    def stats(self) -> dict[str, QueueStats]:
        """Return the state of every queue that holds anything."""
        return {queue: self._stats(queue) for queue, counts in self._counts.items() if any(counts)}

    def _stats(self, queue: str) -> QueueStats:
        ready, scheduled, leased, dead = self._counts[queue]
        return QueueStats(ready, scheduled, leased, dead, self._oldest(queue) if ready else 0)

    def _oldest(self, queue: str) -> int:
        oldest: int = self._sqlite.execute(_OLDEST, (queue,)).fetchone()[0]
        return oldest

    # -- how the moves are made ------------------------------------------------------------------

    def _change(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        if not self._sqlite.in_transaction:
            self._sqlite.execute("BEGIN IMMEDIATE")
        return self._sqlite.execute(sql, values)

    def _count(self, queue: str, state: int, number: int) -> None:
        self._counts.setdefault(queue, [0, 0, 0, 0])[state] += number

    def _move(self, queue: str, before: int, after: int) -> None:
        counts = self._counts[queue]
        counts[before] -= 1
        counts[after] += 1

    def _put(self, new: Envelope, now: int) -> Outcome:
        state = SCHEDULED if new.due > now else READY
        headers = file.write_headers(new.headers)
        row = (new.id, new.name, new.queue, new.priority, new.due, now, headers, new.body, state)
        if not self._change(_PUT, row).rowcount:
            return Outcome(new.id, duplicate=True)
        self._count(new.queue, state, 1)
        self._expect(state, new.due)
        return Outcome(new.id)

    def _take(self, owner: str, connection: int, queue: str, n: int) -> list[Lease]:
        self._serial += 1
        rows = self._change(_TAKE, (owner, self._serial, queue, n)).fetchall()
        # RETURNING keeps no order of its own.
        rows.sort(key=lambda row: (-row[7], row[0]))
        counts = self._counts[queue]
        counts[READY] -= len(rows)
        counts[LEASED] += len(rows)
        for row in rows:
            self._held[row[0]] = _Held(self._serial, owner, connection, queue)
        return [_lease(row, self._serial) for row in rows]

    def _holding(self, token: str) -> int | None:
        """Return the row that is held under this very token, if it still is."""
        seq, _, serial = token.partition("-")
        held = self._held.get(int(seq)) if seq.isdecimal() else None
        return int(seq) if held is not None and str(held.serial) == serial else None

    def _settle(self, mark: Mark, now: int) -> bool:
        seq = self._holding(mark.token)
        if seq is None:
            return False
        queue = self._held.pop(seq).queue
        match mark.verdict:
            case "done":
                self._change(_FORGET, (seq,))
                self._count(queue, LEASED, -1)
            case "dead":
                self._change(_BURY, (mark.reason, mark.error, now, seq))
                self._change(_FORGET, (seq,))
                self._move(queue, LEASED, DEAD)
            case "retry" | "release":
                state = SCHEDULED if mark.at > now else READY
                self._change(_WAIT, (state, mark.at, mark.verdict == "retry", seq))
                self._move(queue, LEASED, state)
                self._expect(state, mark.at)
        self.put(mark.then, now)
        return True

    def _adopt(self, owner: str, connection: int, token: str) -> bool:
        seq = self._holding(token)
        if seq is None or self._held[seq].owner != owner:
            return False
        self._held[seq] = self._held[seq]._replace(connection=connection)
        return True

    def _give_back(self, seq: int, held: _Held, lost: bool) -> None:
        self._change(_GIVE_BACK, (lost, seq))
        self._move(held.queue, LEASED, READY)
        del self._held[seq]

    def _expect(self, state: int, due: int) -> None:
        if state == SCHEDULED:
            self._next_due = due if self._next_due is None else min(self._next_due, due)

    def _learn_next_due(self) -> None:
        (self._next_due,) = self._sqlite.execute(
            "SELECT min(due) FROM delivery WHERE state = 1"
        ).fetchone()


def _lease(row: tuple[Any, ...], serial: int) -> Lease:
    """Make a lease of what `_TAKE` returns."""
    seq, id_, name, body, queue, headers, due, priority, attempt, losses, put_at = row
    envelope = Envelope(id_, name, body, queue, file.read_headers(headers), due, priority)
    return Lease(envelope, f"{seq}-{serial}", attempt, losses, put_at)
