"""Slows down files that change again and again, soon after one another. Pure but for its memory.

The writes of a plugin's own processes are known (`base/files/own_writes.py`), but not those of
programs they start, which would cause rollouts without end. So a file that changes more often than
people save it is held until it has been calm for a while, longer each time. Times are seconds of
one monotonic clock.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

# This many changes, each this soon after the one before, are free.
FREE = 5
SOON = 10.0
# How long a file must be calm the first time, and at most.
CALM, LONGEST = 2.0, 600.0


@dataclass(frozen=True)
class _Restless:
    strikes: int = 0
    latest: float = float("-inf")
    held: bool = False

    @property
    def calm_at(self) -> float:
        """When it will have been calm for long enough."""
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
        """Return the changes that count now, with held ones that have become calm."""
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
    if file.held:  # part of the same change until it is calm
        return replace(file, latest=now)
    strikes = file.strikes + 1 if now - file.latest < SOON else file.strikes // 2
    return _Restless(strikes, now, held=strikes >= FREE)
