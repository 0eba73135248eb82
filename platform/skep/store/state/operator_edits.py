"""What operators do to deliveries: cancel, requeue, promote, delete."""

from collections.abc import Sequence

from msgspec.structs import replace

from skep.engine.base import Cancellation, Edit, Envelope
from skep.engine.headers import DIED
from skep.store.file import schema
from skep.store.file.rules import read_rules
from skep.store.state.deliveries import DEAD, LEASED, SCHEDULED, Deliveries
from skep.store.state.results import Results
from skep.store.state.transaction import Transaction

_DEAD = f"SELECT {schema.COLUMNS}, rules, reason FROM dead WHERE id = ?"
_EXHUME = "DELETE FROM dead WHERE id = ? RETURNING queue"
_HASTEN = "UPDATE delivery SET due = ? WHERE seq = ?"


class OperatorEdits:
    """The edits, and who has to be told of them."""

    def __init__(self, transaction: Transaction, moves: Deliveries, results: Results) -> None:
        self._transaction = transaction
        self._moves = moves
        self._results = results
        # Connections and the ids of deliveries they hold that were cancelled in this turn.
        self.flagged: list[tuple[int, str]] = []

    def cancel(self, ids: Sequence[str], now: int) -> list[Cancellation]:
        """Let deliveries not happen."""
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
        (outcome,) = self._moves.put([_risen(dead, reason)], now)
        if outcome.duplicate:
            return False
        self._results.forget(delivery)
        return self._exhume(delivery)

    def _delete(self, delivery: str, now: int) -> bool:
        found = self._moves.look_up(delivery)
        if found is None:
            return self._exhume(delivery)
        if found.state != LEASED:
            self._moves.remove(found, now)
        return found.state != LEASED

    def _promote(self, delivery: str, now: int) -> bool:
        found = self._moves.look_up(delivery)
        if found is None or found.state != SCHEDULED:
            return False
        self._transaction.change(_HASTEN, (now, found.seq))
        self._moves.expect(now)
        return True

    def _exhume(self, delivery: str) -> bool:
        queues = self._transaction.change(_EXHUME, (delivery,)).fetchall()
        for (queue,) in queues:
            self._moves.count(queue, DEAD, -1)
        return bool(queues)


def _risen(envelope: Envelope, reason: str) -> Envelope:
    """Return a dead letter as it is put again, for the workers there are now."""
    return replace(envelope, headers={**envelope.headers, DIED: reason}, sender="")
