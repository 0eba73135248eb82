"""What operators do to deliveries: cancel, requeue, promote, delete."""

from collections.abc import Sequence

from msgspec.structs import replace

from skep.engine.contract import Cancellation, Edit, Envelope
from skep.engine.headers import DIED
from skep.store.file import schema
from skep.store.file.rules import read_rules
from skep.store.file.schema import LEASED, SCHEDULED
from skep.store.state.deliveries import Deliveries
from skep.store.state.results import Results
from skep.store.state.transaction import Transaction

_DEAD = f"SELECT {schema.COLUMNS}, rules, reason FROM dead WHERE id = ?"
_MAKE_DUE = "UPDATE delivery SET due = ? WHERE seq = ?"


class OperatorEdits:
    """The edits, and the connections to notify of them."""

    def __init__(self, transaction: Transaction, moves: Deliveries, results: Results) -> None:
        self._transaction = transaction
        self._moves = moves
        self._results = results
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
        (outcome,) = self._moves.put([_risen(dead, reason)], now)
        if outcome.duplicate:
            return False
        self._results.forget(delivery)
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


def _risen(envelope: Envelope, reason: str) -> Envelope:
    return replace(envelope, headers={**envelope.headers, DIED: reason}, sender="")
