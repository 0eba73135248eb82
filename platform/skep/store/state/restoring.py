"""Takes deliveries out of another file, each at most once."""

from collections.abc import Sequence

from skep.engine.contract import DeliveryRow
from skep.store.file import schema
from skep.store.file.rows import CORRUPT
from skep.store.file.rules import rules_of, write_rules
from skep.store.file.schema import DEAD
from skep.store.state.deliveries import Deliveries
from skep.store.state.transaction import Transaction

_CLAIM = "INSERT INTO restored (id) VALUES (?) ON CONFLICT DO NOTHING"
_WHY_DEAD = "SELECT reason FROM dead WHERE id = ?"
_PAST = """
UPDATE delivery SET attempt = ?, losses = ?, cuts = ?, put_at = ?, error = ? WHERE id = ?"""
_BURY = """
INSERT INTO dead (id, name, queue, priority, due, put_at, headers, body, attempt, losses, lane,
                  rules, reason, error, died_at, sender, cuts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Restoring:
    """Restores rows of another file, and remembers them, because they may have ended by the next
    time. A dead letter made of a damaged row is replaced by the whole one."""

    def __init__(self, transaction: Transaction, moves: Deliveries) -> None:
        self._transaction = transaction
        self._moves = moves

    def restore(self, rows: Sequence[DeliveryRow], now: int) -> int:
        """Keep those that were not kept before; return how many."""
        self._transaction.change(schema.RESTORED)
        return sum(self._restore(row, now) for row in rows)

    def _restore(self, row: DeliveryRow, now: int) -> bool:
        delivery = row.envelope.id
        why_dead = self._transaction.read(_WHY_DEAD, (delivery,)).fetchone()
        is_new = self._transaction.change(_CLAIM, (delivery,)).rowcount > 0
        if why_dead != (CORRUPT,) and (why_dead is not None or not is_new):
            return False
        self._moves.forget_dead(delivery)
        if row.state == "dead":
            return self._bury(row, now)
        (outcome,) = self._moves.put([row.envelope], now)
        if outcome.duplicate:
            return False
        # Its holder is unknown, and may have been killed by it.
        losses = row.losses + (row.state == "leased")
        self._transaction.change(
            _PAST, (row.attempt, losses, row.cuts, row.put_at, row.error, delivery)
        )
        return True

    def _bury(self, row: DeliveryRow, now: int) -> bool:
        e = row.envelope
        if self._moves.look_up(e.id) is not None:
            return False
        headers, rules = schema.write_headers(e.headers), write_rules(rules_of(e))
        kept = (e.id, e.name, e.queue, e.priority, e.due, row.put_at, headers, e.body, row.attempt)
        end = (row.losses, e.concurrency_key, rules, row.reason, row.error, now, e.sender, row.cuts)
        self._transaction.change(_BURY, (*kept, *end))
        self._moves.count(e.queue, DEAD, 1)
        return True
