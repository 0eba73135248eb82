"""Unique keys: which delivery holds each, and until when after its end."""

from skep.store.state.transaction import Transaction

# A key is free when it has expired, whether its row is already deleted or not.
_CLAIM = """
INSERT INTO uniq (key, id, until) VALUES (?1, ?2, 0)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, until = 0
    WHERE id = excluded.id OR (until > 0 AND until <= ?3)"""
_HOLDER = "SELECT id FROM uniq WHERE key = ?"
_KEEP = "UPDATE uniq SET until = ? WHERE key = ? AND id = ?"
_FREE = "DELETE FROM uniq WHERE key = ? AND id = ?"
_SWEEP = "DELETE FROM uniq WHERE until > 0 AND until <= ?"


class Keys:
    """The unique keys; `until` 0 in a row means: as long as its delivery is kept."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def claim(self, key: str, delivery: str, now: int) -> str:
        """Give a delivery a key if it is free; return the id of its holder."""
        if self._transaction.change(_CLAIM, (key, delivery, now)).rowcount:
            return delivery
        holder: str = self._transaction.read(_HOLDER, (key,)).fetchone()[0]
        return holder

    def leave(self, key: str, delivery: str, until: int) -> None:
        """Keep the key of a delivery that has ended until then; free it at once for 0."""
        if until:
            self._transaction.change(_KEEP, (until, key, delivery))
        else:
            self._transaction.change(_FREE, (key, delivery))

    def sweep(self, now: int) -> None:
        self._transaction.change(_SWEEP, (now,))
