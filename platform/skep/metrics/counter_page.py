"""The counters of one process, in memory that the supervisor still reads when the process was
killed.

The file in memory has three parts: the length of the definitions, the values, the definitions.

    0                     8                              DEFINITIONS
    | length, a double    | CAPACITY doubles             | one JSON array a line, see `_define`

A value is defined before it is first raised, and the length is written after the text, so whatever
moment the process is killed at, what stands there is whole. The supervisor reads the page with
`read` and adds what the frames of the process did not hold. The supervisor imports this module, so
it needs nothing but the standard library.

Chosen by measurement, per raise: a value in the page 0.10 µs with its lock (0.16 µs for the client
library's own), a frame sent per request 11 µs and as much again in the supervisor.
"""

import json
import math
import mmap
import os
import struct
import tempfile
import threading
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

CAPACITY = 128 * 1024
_VALUES = 8
DEFINITIONS = _VALUES + 8 * CAPACITY
_SIZE = DEFINITIONS + 8 * 1024 * 1024


class Numbers:
    """Values that the page has no room for; only frames carry them."""

    # A memoryview of doubles, which the type checker knows only as one of integers.
    numbers: Any

    def __init__(self, count: int) -> None:
        self.numbers = array("d", bytes(8 * count))


class CounterPage(Numbers):
    """Values of this process, in `numbers`, which is another after `share` and after a fork.

    Until `share` they are this process's own, so that what is counted while plugins load is kept
    through the fork. A process that a worker forks has a copy of its own.
    """

    def __init__(self) -> None:
        self._map(mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self._families: dict[tuple[str, str, str], int] = {}
        self._next = 0
        self._end = DEFINITIONS
        self._lock = threading.RLock()
        self._shared = False
        os.register_at_fork(after_in_child=self._forked)

    def allocate(
        self, family: tuple[str, str, str], series: Sequence[Any], count: int = 1
    ) -> "tuple[Numbers, int]":
        """Return where `count` new values are, and the index of the first.

        `family` is the name that is exposed, the type and the help text. `series` is the label
        names, their values, and what these values are of their series: `value` for a counter;
        `sum`, `count` or the bound of a bucket; or a list of bounds for a sum and the counts of
        all buckets.
        """
        # Outside of the lock: this makes objects, so garbage may be collected, and what a plugin's
        # finalizer counts comes here.
        described, text = _text(series), _text(family)
        with self._lock:
            first = self._place(family, text, described, count)
        return (Numbers(count), 0) if first < 0 else (self, first)

    def _place(self, family: tuple[str, str, str], text: bytes, series: bytes, count: int) -> int:
        """Write the definitions; return the index of the first value, -1 if the page is full."""
        number = self._families.get(family)
        lines = b""
        if number is None:
            number = len(self._families)
            lines = b"[%d,%b\n" % (number, text)
        lines += b"[%d,%d,%b\n" % (number, self._next, series)
        if self._next + count > CAPACITY or self._end + len(lines) > _SIZE:
            return -1
        self._families[family] = number
        self._memory[self._end : self._end + len(lines)] = lines
        self._end += len(lines)
        self._header[0] = self._end - DEFINITIONS
        first, self._next = self._next, self._next + count
        return first

    def share(self) -> int:
        """Move the values into a file in memory; return its descriptor, which is the caller's."""
        descriptor = _file()
        with self._lock:
            self._move(mmap.mmap(descriptor, _SIZE))
            self._shared = True
        return descriptor

    def _forked(self) -> None:
        self._lock = threading.RLock()
        if self._shared:
            self._shared = False
            self._move(mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def _move(self, memory: mmap.mmap) -> None:
        used = _VALUES + 8 * self._next
        memory[_VALUES:used] = self._memory[_VALUES:used]
        memory[DEFINITIONS : self._end] = self._memory[DEFINITIONS : self._end]
        memory[:_VALUES] = self._memory[:_VALUES]
        self._map(memory)

    def _map(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._header = memoryview(memory)[:_VALUES].cast("d")
        self.numbers = memoryview(memory)[_VALUES:DEFINITIONS].cast("d")


PAGE = CounterPage()


def _text(row: Sequence[Any]) -> bytes:
    """Return a row as JSON without its first bracket: numbers come before it."""
    return json.dumps(row, separators=(",", ":")).encode()[1:]


def _file() -> int:
    create = getattr(os, "memfd_create", None)
    if create is not None:
        descriptor: int = create("metrics")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _SIZE)
    return descriptor


@dataclass
class Counted:
    """What one set of labels has counted: the value of a counter; of a histogram or summary the
    sum, and the counts of its buckets by their bounds (a summary's count is that of +Inf)."""

    name: str
    type: str
    help: str
    labels: tuple[tuple[str, str], ...]
    value: float = 0.0
    counts: dict[float, float] = field(default_factory=dict)


def read(descriptor: int) -> list[Counted]:
    """Return all that the page in this file holds. Raises ValueError if it is not a page.

    Labels that were removed and used again have several values, which are added up.
    """
    try:
        return list(_read(descriptor))
    except (
        OSError, struct.error, LookupError, TypeError, ValueError, ArithmeticError, RecursionError,
    ) as error:  # fmt: skip
        raise ValueError(f"the page of counters is damaged: {error!r}") from error


def _read(descriptor: int) -> Iterable[Counted]:
    (length,) = struct.unpack("d", os.pread(descriptor, _VALUES, 0))
    definitions = os.pread(descriptor, min(int(length), _SIZE), DEFINITIONS)
    families: dict[int, tuple[str, str, str]] = {}
    found: dict[tuple[int, tuple[tuple[str, str], ...]], Counted] = {}
    numbers = os.pread(descriptor, DEFINITIONS - _VALUES, _VALUES)
    for line in definitions.splitlines():
        match json.loads(line):
            case [int(number), str(name), str(kind), str(text)]:
                families[number] = (name, kind, text)
            case [int(number), int(first), list(names), list(given), part]:
                labels = tuple(sorted(zip(map(str, names), map(str, given), strict=True)))
                counted = found.get((number, labels))
                if counted is None:
                    counted = found[number, labels] = Counted(*families[number], labels)
                _add(counted, part, memoryview(numbers)[8 * first :].cast("d"))
    return found.values()


def _add(counted: Counted, part: Any, numbers: Any) -> None:
    if isinstance(part, list):
        counted.value += numbers[0]
        for bound, count in zip([*map(float, part), math.inf], numbers[1:], strict=False):
            counted.counts[bound] = counted.counts.get(bound, 0.0) + count
    elif part in ("value", "sum"):
        counted.value += numbers[0]
    else:
        bound = math.inf if part == "count" else float(part)
        counted.counts[bound] = counted.counts.get(bound, 0.0) + numbers[0]
