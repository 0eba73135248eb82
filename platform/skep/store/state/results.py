"""How deliveries have ended, kept for as long as they asked for."""

from skep.engine.contract import Result
from skep.store.state.transaction import Transaction

_KEEP = "INSERT OR REPLACE INTO result (id, ending, body, error, until) VALUES (?, ?, ?, ?, ?)"
_READ = "SELECT id, ending, body, error FROM result WHERE id = ? AND until > ?"
_FORGET = "DELETE FROM result WHERE id = ?"
_SWEEP = "DELETE FROM result WHERE until <= ?"


class Results:
    """The results, and the fresh ones of this transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.fresh: list[Result] = []

    def keep(self, result: Result, until: int) -> None:
        values = (result.id, result.ending, result.body, result.error, until)
        self._transaction.change(_KEEP, values)
        self.fresh.append(result)

    def read(self, delivery: str, now: int) -> Result | None:
        row = self._transaction.read(_READ, (delivery, now)).fetchone()
        return None if row is None else Result(*row)

    def forget(self, delivery: str) -> None:
        """Delete a result, because the delivery begins again."""
        self._transaction.change(_FORGET, (delivery,))

    def sweep(self, now: int) -> None:
        self._transaction.change(_SWEEP, (now,))
