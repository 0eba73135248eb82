"""Concurrency keys: which of the deliveries with the same one may be handed out.

All deliveries with one key, in whatever queue, are a lane. Only leased ones take room in it. The
first of a lane (by priority, then as they were put) are ready, as many as there is room for; the
others are blocked. What waits in a paused queue blocks no other: the rest of its lane is ordered as
if it were not there.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from skep.store.file.schema import BLOCKED, READY, read_rules
from skep.store.state.transaction import Transaction

# `lane != ''` stands in each, so that SQLite uses the partial index of what is ready.
_LANE = "FROM delivery WHERE lane = ?1 AND lane != ''"
# What is ordered together: all queues that are not paused, or one that is. Usually none is; a
# condition on the queues would then cost a fifth.
_ALL = ("AND ?2 = ''", "")
_OPEN = "AND queue NOT IN (SELECT value FROM json_each(?2))"
_ONE = "AND queue = ?2"
_NTH_READY = f"""
SELECT seq, priority, queue {_LANE} AND state = 0 {{}}
ORDER BY priority DESC, seq LIMIT 1 OFFSET ?3"""
_FIRST_BLOCKED = f"""
SELECT seq, queue, rules {_LANE} AND state = 4 {{}} ORDER BY priority DESC, seq LIMIT 1"""
_READY_ONES = f"SELECT seq, queue {_LANE} AND state = 0 {{}}"
_SET = "UPDATE delivery SET state = ? WHERE seq = ?"
_LANES = "SELECT DISTINCT lane FROM delivery WHERE queue = ? AND lane != '' AND state IN (0, 4)"


class LanePlace(NamedTuple):
    """Whether a delivery is ready or blocked, and which ready one has to give way to it."""

    is_ready: bool
    instead_of: tuple[int, str] | None = None


class Lanes:
    """The lanes; `moved(queue, before, after)` is called for each delivery that changes its state.

    `leased` is how many of each lane are leased.
    """

    def __init__(self, transaction: Transaction, moved: Callable[[str, int, int], None]) -> None:
        self._transaction = transaction
        self._moved = moved
        self.leased: Counter[str] = Counter()
        self._paused: frozenset[str] = frozenset()
        self._open = _ALL

    def learn(self, leased: Iterable[str], paused: Iterable[str]) -> None:
        """Load the lanes of what is leased, and the paused queues."""
        self.leased = Counter(leased)
        self._pause(frozenset(paused))

    def pause(self, queues: Iterable[str]) -> None:
        before = self._paused
        self._pause(frozenset(queues))
        for queue in before ^ self._paused:
            for (lane,) in self._transaction.read(_LANES, (queue,)).fetchall():
                self._arrange(lane)

    def find_place(
        self, lane: str, queue: str, priority: int, concurrency: int, seq: float = math.inf
    ) -> LanePlace:
        """Return the place of a delivery that is due; one without a `seq` is the newest."""
        room = concurrency - self.leased[lane]
        if room <= 0:
            return LanePlace(is_ready=False)
        these, value = (_ONE, queue) if queue in self._paused else self._open
        last = self._transaction.read(_NTH_READY.format(these), (lane, value, room - 1)).fetchone()
        if last is None:
            return LanePlace(is_ready=True)
        if (priority, -seq) > (last[1], -last[0]):
            return LanePlace(is_ready=True, instead_of=(last[0], last[2]))
        return LanePlace(is_ready=False)

    def take_place(self, seq: int, queue: str, place: LanePlace) -> None:
        """Move a blocked delivery to its place."""
        if place.instead_of is not None:
            self.block(*place.instead_of)
        if place.is_ready:
            self._set(seq, queue, BLOCKED, READY)

    def block(self, seq: int, queue: str) -> None:
        """Block the ready delivery that gives way to another."""
        self._set(seq, queue, READY, BLOCKED)

    def left(self, lane: str) -> None:
        """Count a lease that ended, and make the next ready."""
        self.leased[lane] -= 1
        if not self.leased[lane]:
            del self.leased[lane]
        self.fill(lane)

    def fill(self, lane: str) -> None:
        """Make ready as many as there is room for."""
        these, value = self._open
        while row := self._transaction.read(_FIRST_BLOCKED.format(these), (lane, value)).fetchone():
            seq, queue, rules = row
            concurrency = read_rules(rules).concurrency
            room = concurrency - self.leased[lane]
            if room <= 0:
                return
            if self._transaction.read(_NTH_READY.format(these), (lane, value, room - 1)).fetchone():
                return
            self._set(seq, queue, BLOCKED, READY)
            if concurrency == 1:
                return

    def _pause(self, queues: frozenset[str]) -> None:
        self._paused = queues
        names = msgspec.json.encode(sorted(queues)).decode()
        self._open = (_OPEN, names) if queues else _ALL

    def _arrange(self, lane: str) -> None:
        """Determine again which are the first."""
        these, value = self._open
        for seq, queue in self._transaction.read(
            _READY_ONES.format(these), (lane, value)
        ).fetchall():
            self._set(seq, queue, READY, BLOCKED)
        self.fill(lane)

    def _set(self, seq: int, queue: str, before: int, after: int) -> None:
        self._transaction.change(_SET, (after, seq))
        self._moved(queue, before, after)
