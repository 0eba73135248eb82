"""What operators do to deliveries: cancel, requeue, promote, delete."""

from collections.abc import Sequence

from skep.engine.base import Cancellation, Edit
from skep.engine.headers import risen
from skep.store import file
from skep.store.deliveries import DEAD, LEASED, SCHEDULED, Deliveries
from skep.store.results import Results
from skep.store.rules import read_rules
from skep.store.turn import Turn

_DEAD = f"SELECT {file.COLUMNS}, rules, reason FROM dead WHERE id = ?"
_EXHUME = "DELETE FROM dead WHERE id = ? RETURNING queue"
_HASTEN = "UPDATE delivery SET due = ? WHERE seq = ?"


class Edits:
    """The edits, and who has to be told of them."""

    def __init__(self, turn: Turn, moves: Deliveries, results: Results) -> None:
        self._turn = turn
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
        row = self._turn.read(_DEAD, (delivery,)).fetchone()
        if row is None:
            return False
        *columns, rules, reason = row
        dead = file.make_envelope(columns, read_rules(rules))
        (outcome,) = self._moves.put([risen(dead, reason)], now)
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
        self._turn.change(_HASTEN, (now, found.seq))
        self._moves.expect(now)
        return True

    def _exhume(self, delivery: str) -> bool:
        queues = self._turn.change(_EXHUME, (delivery,)).fetchall()
        for (queue,) in queues:
            self._moves.count(queue, DEAD, -1)
        return bool(queues)
