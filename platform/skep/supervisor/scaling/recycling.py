"""Replacing workers that have done enough: the successor first, then the old one drains.

    asked ──room──► replaced by a new slot ──READY──► the old slot retires
      └── waits while as many of its kind are being replaced as may be

Called off before that, the old slot stays and the new one retires.

A successor has a slot of its own, the lowest number that is free, so that the old worker keeps its
name until it has drained. Rule: everything is decided in here, from facts and the slots as they
are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from skep.supervisor.processes.slot import Slot, SlotState

# So much of a kind is replaced at a time, and one in any case.
SHARE = 0.25


@dataclass(frozen=True)
class Recycling:
    """Who waits to be replaced, in order, and the successors that are on their way, by the slots
    they are to replace."""

    waiting: tuple[str, ...] = ()
    successors: Mapping[str, str] = field(default_factory=dict)

    @property
    def busy(self) -> frozenset[str]:
        """The successors: workers beyond the number that there should be."""
        return frozenset(self.successors.values())


@dataclass(frozen=True)
class Orders:
    """Slots to fill, and slots whose worker is to drain and not to be replaced."""

    fill: tuple[str, ...] = ()
    retire: tuple[str, ...] = ()


def asked(recycling: Recycling, slot: str) -> Recycling:
    """A worker wants to be replaced."""
    if slot in recycling.waiting or slot in recycling.successors:
        return recycling
    return replace(recycling, waiting=(*recycling.waiting, slot))


def advance(recycling: Recycling, slots: Mapping[str, Slot]) -> tuple[Recycling, Orders]:
    """Return what can be done now that the slots are as they are."""
    successors = dict(recycling.successors)
    retire = []
    for old, new in recycling.successors.items():
        if new not in slots or old not in slots:
            # One of them is gone for good: the other one has the place.
            del successors[old]
        elif slots[new].state is SlotState.READY or not slots[old].filled:
            # It serves; or the old one has crashed before, and has not to be filled twice.
            del successors[old]
            retire.append(old)
    fill, waiting = [], []
    for old in recycling.waiting:
        if old not in slots or not slots[old].filled or slots[old].leaving:
            continue  # it has ended: the worker that fills its slot again is new
        if _room(_pool(old), slots, successors):
            successors[old] = next(free(_pool(old), [*slots, *successors.values()]))
            fill.append(successors[old])
        else:
            waiting.append(old)
    return Recycling(tuple(waiting), successors), Orders(tuple(fill), tuple(retire))


def call_off(recycling: Recycling, slots: Iterable[str]) -> tuple[Recycling, Orders]:
    """Leave the workers in these slots where they are; successors that are on their way retire."""
    gone = frozenset(slots)
    retire = tuple(new for old, new in recycling.successors.items() if old in gone)
    successors = {old: new for old, new in recycling.successors.items() if old not in gone}
    waiting = tuple(slot for slot in recycling.waiting if slot not in gone)
    return Recycling(waiting, successors), Orders(retire=retire)


def rescale(
    recycling: Recycling, slots: Mapping[str, Slot], wanted: Mapping[str, int]
) -> tuple[Recycling, Orders]:
    """Return what makes the number of workers of each pool what is wanted: new slots, or the newest
    ones retire; a successor goes with the one it was to replace."""
    fill: list[str] = []
    retire: list[str] = []
    for pool in sorted({*wanted, *map(_pool, slots)}):
        places = [name for name in _staying(pool, slots) if name not in recycling.busy]
        number = wanted.get(pool, 0)
        retire += places[number:]
        names = free(pool, [*slots, *fill])
        fill += [next(names) for _ in range(number - len(places))]
    retire += [recycling.successors[old] for old in retire if old in recycling.successors]
    successors = {o: n for o, n in recycling.successors.items() if o not in retire}
    waiting = tuple(slot for slot in recycling.waiting if slot not in retire)
    return Recycling(waiting, successors), Orders(tuple(fill), tuple(retire))


def free(pool: str, taken: Iterable[str]) -> Iterator[str]:
    """Yield the names of slots of a pool that are not taken, the lowest number first."""
    names = (f"{pool}.{number}" for number in count())
    used = frozenset(taken)
    return (name for name in names if name not in used)


def _staying(pool: str, slots: Mapping[str, Slot]) -> list[str]:
    return [n for n, s in slots.items() if _pool(n) == pool and not s.leaving]


def _room(pool: str, slots: Mapping[str, Slot], successors: Mapping[str, str]) -> bool:
    under_way = sum(1 for old in successors if _pool(old) == pool)
    present = sum(1 for name in _staying(pool, slots) if name not in successors.values())
    return under_way < max(1, int(present * SHARE))


def _pool(slot: str) -> str:
    """The slots that do the same: `web` of `web.0`, `task.mail` of `task.mail.0`."""
    return slot.rpartition(".")[0]
