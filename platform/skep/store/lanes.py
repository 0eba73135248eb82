"""Concurrency keys: which of the deliveries that bear the same one may be handed out.

All that bear one key, in whatever queue, are a lane. What is leased takes room in it, and nothing
else does. The first of a lane (by priority, then as they were put) are ready, as many as there is
room for; the others are blocked. What waits in a queue that is paused holds up no other: the rest
of its lane is ordered as if it were not there.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from skep.store.rules import read_rules
from skep.store.turn import Turn

_READY, _BLOCKED = 0, 4

# Those that are ordered together: all queues but those that are paused, or one that is.
_OPEN = "queue NOT IN (SELECT value FROM json_each(?2))"
_PAUSED = "queue = ?2"
# `lane != ''` stands in each, so that SQLite uses the partial index.
_COUNT = "SELECT count(*) FROM delivery WHERE lane = ?1 AND lane != '' AND state = 0 AND "
_LAST_READY = """
SELECT seq, priority, queue FROM delivery
WHERE lane = ?1 AND lane != '' AND state = 0 AND {} ORDER BY priority, seq DESC LIMIT 1"""
_FIRST_BLOCKED = f"""
SELECT seq, queue, rules FROM delivery
WHERE lane = ?1 AND lane != '' AND state = 4 AND {_OPEN} ORDER BY priority DESC, seq LIMIT 1"""
_CROWD_OUT = f"""
UPDATE delivery SET state = 4 WHERE seq IN (
    SELECT seq FROM delivery WHERE lane = ?1 AND lane != '' AND state = 0 AND {_OPEN}
    ORDER BY priority, seq DESC LIMIT ?3)
RETURNING queue"""
_SET = "UPDATE delivery SET state = ? WHERE seq = ?"
_LANES = "SELECT DISTINCT lane FROM delivery WHERE queue = ? AND lane != '' AND state IN (0, 4)"


class Lanes:
    """The lanes; `moved(queue, before, after)` is called for each delivery that changes its state.

    `leased` is how many of each lane are leased.
    """

    def __init__(self, turn: Turn, moved: Callable[[str, int, int], None]) -> None:
        self._turn = turn
        self._moved = moved
        self.leased: Counter[str] = Counter()
        self._paused: frozenset[str] = frozenset()
        self._paused_json = "[]"

    def pause(self, queues: Iterable[str]) -> None:
        """These queues are paused, and no others are."""
        before, self._paused = self._paused, frozenset(queues)
        self._paused_json = msgspec.json.encode(sorted(self._paused)).decode()
        for queue in before ^ self._paused:
            for (lane,) in self._turn.read(_LANES, (queue,)).fetchall():
                self._crowd_out(lane, -1)
                self._fill(lane)

    def learn(self, leased: Iterable[str], paused: Iterable[str]) -> None:
        """Take over what the file says: the lanes of what is leased, and the paused queues."""
        self.leased = Counter(leased)
        self._paused = frozenset(paused)
        self._paused_json = msgspec.json.encode(sorted(self._paused)).decode()

    def place(self, lane: str, queue: str, rank: tuple[int, int], concurrency: int) -> None:
        """A delivery has become due, and stands as blocked. Make it ready if there is room, or if
        it comes before one that is; `rank` is its priority and its `seq`."""
        room = concurrency - self.leased[lane]
        if room <= 0:
            return
        these, values = (_PAUSED, queue) if queue in self._paused else (_OPEN, self._paused_json)
        (ready,) = self._turn.read(_COUNT + these, (lane, values)).fetchone()
        priority, seq = rank
        if ready >= room:
            found = self._turn.read(_LAST_READY.format(these), (lane, values)).fetchone()
            last, lower, of = found
            if (lower, -last) >= (priority, -seq):
                return
            self._set(last, of, _READY, _BLOCKED)
        self._set(seq, queue, _BLOCKED, _READY)

    def taken(self, lane: str, concurrency: int) -> None:
        """One was leased: what there is no more room for is blocked."""
        self.leased[lane] += 1
        ready = self._ready(lane)
        if ready and (excess := ready - max(concurrency - self.leased[lane], 0)) > 0:
            self._crowd_out(lane, excess)

    def left(self, lane: str) -> None:
        """One is leased no more: the next may go."""
        self.leased[lane] -= 1
        if not self.leased[lane]:
            del self.leased[lane]
        self._fill(lane)

    def removed(self, lane: str) -> None:
        """One that waited is gone: if it was ready, the next may go."""
        self._fill(lane)

    def _fill(self, lane: str) -> None:
        """Make ready what there is room for."""
        while row := self._turn.read(_FIRST_BLOCKED, (lane, self._paused_json)).fetchone():
            seq, queue, rules = row
            if self._ready(lane) >= read_rules(rules).concurrency - self.leased[lane]:
                return
            self._set(seq, queue, _BLOCKED, _READY)

    def _ready(self, lane: str) -> int:
        row: tuple[Any, ...] = self._turn.read(_COUNT + _OPEN, (lane, self._paused_json)).fetchone()
        return int(row[0])

    def _crowd_out(self, lane: str, number: int) -> None:
        """Block the last of what is ready; -1 for all."""
        found = self._turn.change(_CROWD_OUT, (lane, self._paused_json, number)).fetchall()
        for (queue,) in found:
            self._moved(queue, _READY, _BLOCKED)

    def _set(self, seq: int, queue: str, before: int, after: int) -> None:
        self._turn.change(_SET, (after, seq))
        self._moved(queue, before, after)
