"""Slows down files that change again and again, soon after one another.

What a plugin's own processes write is known (`base/files/own_writes.py`), but not what a program
that they start writes. Such a file would roll out without end. A file that changes more often than
anybody saves it is held until it has been calm for a while, and longer each time it goes on. Rule:
every decision is in here, from changes and the time. Times are seconds of one monotonic clock.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

# So many changes, each so soon after the one before, are free.
FREE = 5
SOON = 10.0
# How long a file has to be calm the first time, and at most.
CALM, LONGEST = 2.0, 600.0


@dataclass(frozen=True)
class _Restless:
    """A file: how many `strikes` it has, when it changed last, and whether that is held."""

    strikes: int = 0
    latest: float = float("-inf")
    held: bool = False

    @property
    def calm_at(self) -> float:
        """When it will have been calm for long enough, if it does not change again."""
        wait: float = CALM * 2.0 ** min(self.strikes - FREE, 32)
        return self.latest + min(LONGEST, wait)


class Brake:
    """The files that have changed lately, by their paths."""

    def __init__(self) -> None:
        self._files: dict[str, _Restless] = {}

    @property
    def holding(self) -> bool:
        """Whether a change is held."""
        return any(file.held for file in self._files.values())

    def admit(self, changed: Set[str], now: float) -> set[str]:
        """Take changes; return those that count now, the held ones among them that are calm."""
        for path in changed:
            self._files[path] = _changed(self._files.get(path, _Restless()), now)
        calm = {p for p, f in self._files.items() if f.held and f.calm_at <= now}
        for path in calm:
            self._files[path] = replace(self._files[path], latest=now, held=False)
        return calm | {path for path in changed if not self._files[path].held}

    def held(self) -> set[str]:
        """Return the files of which a change is held."""
        return {path for path, file in self._files.items() if file.held}


def _changed(file: _Restless, now: float) -> _Restless:
    if file.held:  # whatever else happens before it is calm is part of the same change
        return replace(file, latest=now)
    strikes = file.strikes + 1 if now - file.latest < SOON else file.strikes // 2
    return _Restless(strikes, now, held=strikes >= FREE)
