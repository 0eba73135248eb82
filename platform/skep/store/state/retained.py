"""What is retained of a delivery after its end: its unique key and its result, for a time."""

from skep.engine.contract import Result
from skep.store.state.transaction import Transaction

# A key is free when it has expired, whether its row is already deleted or not.
_CLAIM = """
INSERT INTO uniq (key, id, until) VALUES (?1, ?2, 0)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, until = 0
    WHERE id = excluded.id OR (until > 0 AND until <= ?3)"""
_KEEP_RESULT = """
INSERT OR REPLACE INTO result (id, ending, body, error, until) VALUES (?, ?, ?, ?, ?)"""
_READ_RESULT = "SELECT id, ending, body, error FROM result WHERE id = ? AND until > ?"


class Retained:
    """Unique keys, results, and the fresh results of this transaction.

    `until` 0 in the row of a key means: as long as its delivery is kept.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.fresh: list[Result] = []

    def claim_key(self, key: str, delivery: str, now: int) -> str:
        """Give a delivery a key if it is free; return the id of its holder."""
        if self._transaction.change(_CLAIM, (key, delivery, now)).rowcount:
            return delivery
        holder: str = self._transaction.read(
            "SELECT id FROM uniq WHERE key = ?", (key,)
        ).fetchone()[0]
        return holder

    def leave_key(self, key: str, delivery: str, until: int) -> None:
        """Keep the key of a delivery that has ended until then; free it at once for 0."""
        if until:
            sql = "UPDATE uniq SET until = ? WHERE key = ? AND id = ?"
            self._transaction.change(sql, (until, key, delivery))
        else:
            self._transaction.change("DELETE FROM uniq WHERE key = ? AND id = ?", (key, delivery))

    def keep_result(self, result: Result, until: int) -> None:
        values = (result.id, result.ending, result.body, result.error, until)
        self._transaction.change(_KEEP_RESULT, values)
        self.fresh.append(result)

    def result(self, delivery: str, now: int) -> Result | None:
        row = self._transaction.read(_READ_RESULT, (delivery, now)).fetchone()
        return None if row is None else Result(*row)

    def forget_result(self, delivery: str) -> None:
        """Delete a result, because the delivery begins again."""
        self._transaction.change("DELETE FROM result WHERE id = ?", (delivery,))

    def sweep(self, now: int) -> None:
        """Delete what has expired."""
        self._transaction.change("DELETE FROM uniq WHERE until > 0 AND until <= ?", (now,))
        self._transaction.change("DELETE FROM result WHERE until <= ?", (now,))
