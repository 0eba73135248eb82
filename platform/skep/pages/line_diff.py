"""Two texts side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

LineKind = Literal["same", "changed", "added", "deleted", "skipped"]
_MOST_LINES = 3000
# Lines that stand often on both sides are compared by their neighbours alone; and of what is left,
# so many steps may be needed, about a second. Without these bounds a few lines in another order,
# repeated, take hours.
_MOST_PAIRS, _MOST_STEPS = 100, 10_000_000
# Equal lines that are shown around a difference.
_AROUND = 3


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line on the left, on the right, or on both; a number is 0 where there is no line.

    Of kind `skipped` it stands for equal lines that are not shown; `left` has their number.
    """

    kind: LineKind
    left_number: int
    left: str
    right_number: int
    right: str


def side_by_side(old: str, new: str, *, among: int = 1) -> list[DiffLine]:
    """Return what to show of two texts, with a few equal lines around each difference; `among` is
    how many comparisons share the time of a page."""
    left, right = old.split("\n"), new.split("\n")
    pairs = _pairs(left, right)
    often = {line for line, count in pairs.items() if count > _MOST_PAIRS}
    rest = sum(count for line, count in pairs.items() if line not in often)
    steps = rest * min(len(left), len(right))
    if max(len(left), len(right)) > _MOST_LINES or steps > _MOST_STEPS // among:
        return _replaced(left, right, 0, 0)
    shown: list[DiffLine] = []
    matcher = SequenceMatcher(often.__contains__, left, right, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            shown += _equal(left, a, b, c, is_first=a == 0, is_last=b == len(left))
        else:
            shown += _replaced(left[a:b], right[c:d], a, c)
    return shown


def _pairs(left: Sequence[str], right: Sequence[str]) -> dict[str, int]:
    """Return in how many ways each line of one side could be a line of the other."""
    ours, theirs = Counter(left), Counter(right)
    return {line: count * theirs[line] for line, count in ours.items() if line in theirs}


def _equal(
    left: Sequence[str], a: int, b: int, c: int, *, is_first: bool, is_last: bool
) -> list[DiffLine]:
    head = 0 if is_first else _AROUND
    tail = 0 if is_last else _AROUND
    lines = [DiffLine("same", a + i + 1, left[a + i], c + i + 1, left[a + i]) for i in range(b - a)]
    hidden = len(lines) - head - tail
    if hidden < 2:
        return lines
    gap = DiffLine("skipped", 0, str(hidden), 0, "")
    return [*lines[:head], gap, *lines[len(lines) - tail :]]


def _replaced(left: Sequence[str], right: Sequence[str], a: int, c: int) -> list[DiffLine]:
    lines = []
    for i in range(max(len(left), len(right))):
        if i >= len(left):
            lines.append(DiffLine("added", 0, "", c + i + 1, right[i]))
        elif i >= len(right):
            lines.append(DiffLine("deleted", a + i + 1, left[i], 0, ""))
        else:
            lines.append(DiffLine("changed", a + i + 1, left[i], c + i + 1, right[i]))
    return lines
