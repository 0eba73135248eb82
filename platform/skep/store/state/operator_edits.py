"""What operators do to deliveries: cancel, requeue, promote, delete, restore."""

from collections.abc import Sequence

from msgspec.structs import replace

from skep.engine.contract import Cancellation, DeliveryRow, Edit
from skep.engine.headers import DIED
from skep.store.file import schema
from skep.store.file.rows import CORRUPT
from skep.store.file.schema import DEAD, LEASED, SCHEDULED, read_rules, rules_of, write_rules
from skep.store.state.deliveries import Deliveries
from skep.store.state.retained import Retained
from skep.store.state.transaction import Transaction

_DEAD = f"SELECT {schema.COLUMNS}, rules, reason FROM dead WHERE id = ?"
_MAKE_DUE = "UPDATE delivery SET due = ? WHERE seq = ?"
_CLAIM = "INSERT INTO restored (id) VALUES (?) ON CONFLICT DO NOTHING"
_WHY_DEAD = "SELECT reason FROM dead WHERE id = ?"
_PAST = """
UPDATE delivery SET attempt = ?, losses = ?, cuts = ?, put_at = ?, error = ? WHERE id = ?"""
_BURY = """
INSERT INTO dead (id, name, queue, priority, due, put_at, headers, body, attempt, losses, lane,
                  rules, reason, error, died_at, sender, cuts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class OperatorEdits:
    """The edits, and the connections to notify of them."""

    def __init__(self, transaction: Transaction, moves: Deliveries, retained: Retained) -> None:
        self._transaction = transaction
        self._moves = moves
        self._retained = retained
        # Connections, and the ids of deliveries they hold that this transaction cancelled.
        self.flagged: list[tuple[int, str]] = []

    def cancel(self, ids: Sequence[str], now: int) -> list[Cancellation]:
        return [self._cancel(delivery, now) for delivery in ids]

    def edit(self, ids: Sequence[str], op: Edit, now: int) -> int:
        """Change deliveries; return how many were."""
        act = {"requeue": self._requeue, "delete": self._delete, "promote": self._promote}[op]
        return sum(act(delivery, now) for delivery in ids)

    def _cancel(self, delivery: str, now: int) -> Cancellation:
        found = self._moves.look_up(delivery)
        if found is None:
            return "unknown"
        if found.state == LEASED:
            self.flagged.append((self._moves.flag(found.seq), delivery))
            return "flagged"
        self._moves.remove(found, now)
        return "removed"

    def _requeue(self, delivery: str, now: int) -> bool:
        row = self._transaction.read(_DEAD, (delivery,)).fetchone()
        if row is None:
            return False
        *columns, rules, reason = row
        dead = schema.make_envelope(columns, read_rules(rules))
        risen = replace(dead, headers={**dead.headers, DIED: reason}, sender="")
        (outcome,) = self._moves.put([risen], now)
        if outcome.duplicate:
            return False
        self._retained.forget_result(delivery)
        return self._moves.forget_dead(delivery)

    def _delete(self, delivery: str, now: int) -> bool:
        found = self._moves.look_up(delivery)
        if found is None:
            return self._moves.forget_dead(delivery)
        if found.state != LEASED:
            self._moves.remove(found, now)
        return found.state != LEASED

    def _promote(self, delivery: str, now: int) -> bool:
        found = self._moves.look_up(delivery)
        if found is None or found.state != SCHEDULED:
            return False
        self._transaction.change(_MAKE_DUE, (now, found.seq))
        self._moves.expect(now)
        return True

    def restore(self, rows: Sequence[DeliveryRow], now: int) -> int:
        """Keep rows of another file that were not kept before; return how many.

        They are remembered, because they may have ended by the next time. A dead letter made of a
        damaged row is replaced by the whole one.
        """
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
