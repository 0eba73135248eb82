"""Unique keys: which delivery holds each, and until when after its end."""

from skep.store.state.transaction import Transaction

# A key is free when its time is over, whether its row is swept out yet or not.
_CLAIM = """
INSERT INTO uniq (key, id, until) VALUES (?1, ?2, 0)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, until = 0
    WHERE id = excluded.id OR (until > 0 AND until <= ?3)"""
_HOLDER = "SELECT id FROM uniq WHERE key = ?"
_KEEP = "UPDATE uniq SET until = ? WHERE key = ? AND id = ?"
_FREE = "DELETE FROM uniq WHERE key = ? AND id = ?"
_SWEEP = "DELETE FROM uniq WHERE until > 0 AND until <= ?"


class Keys:
    """The unique keys of what is kept; `until` 0 in a row means: as long as its delivery is."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def claim(self, key: str, delivery: str, now: int) -> str:
        """Let a delivery have a key if it is free; return who has it."""
        if self._transaction.change(_CLAIM, (key, delivery, now)).rowcount:
            return delivery
        holder: str = self._transaction.read(_HOLDER, (key,)).fetchone()[0]
        return holder

    def leave(self, key: str, delivery: str, until: int) -> None:
        """The delivery has ended; keep its key until then, 0 for no longer."""
        if until:
            self._transaction.change(_KEEP, (until, key, delivery))
        else:
            self._transaction.change(_FREE, (key, delivery))

    def sweep(self, now: int) -> None:
        """Forget keys whose time is over."""
        self._transaction.change(_SWEEP, (now,))
