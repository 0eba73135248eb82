"""Names that one process holds at a time, for a while: how the leader is chosen."""

from skep.engine.contract import Hold
from skep.store.file.schema import Damaged
from skep.store.state.transaction import Transaction

# The epoch stays the same when a hold is renewed, and grows with each new holder.
_GRASP = """
INSERT INTO hold (name, token, epoch, until) VALUES (?1, ?2, 1, ?3)
ON CONFLICT (name) DO UPDATE SET
    token = excluded.token, until = excluded.until, epoch = epoch + (token != excluded.token)
    WHERE token = excluded.token OR until <= ?4
RETURNING name, token, epoch, until"""
_DROP = "UPDATE hold SET until = 0, token = '' WHERE name = ? AND token = ?"


class Holds:
    """Current and former holds; the row of one that ended keeps its epoch."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def grasp(self, name: str, token: str, ttl: int, now: int) -> Hold | None:
        """Hold a name, or renew the hold; None if another token holds it. Raises Damaged."""
        row = self._transaction.change(_GRASP, (name, token, now + ttl, now)).fetchone()
        if row is not None and not type(row[2]) is type(row[3]) is int:
            raise Damaged(f"the epoch of {name} is {row[2]!r}, and it is held until {row[3]!r}")
        return None if row is None else Hold(*row)

    def drop(self, name: str, token: str) -> None:
        self._transaction.change(_DROP, (name, token))
