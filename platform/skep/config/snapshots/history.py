"""Earlier configurations, and the outcome of every change.

<config_dir>/history/<n>.json   the applied snapshots, the newest 20
<config_dir>/state.json         which one is in force, passed its probation, is pinned
<config_dir>/audit.jsonl        one line for each attempted change, values masked
"""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from skep.base.errors import ConfigError
from skep.base.logs.log import excerpt
from skep.base.logs.masking import mask_value
from skep.config.env import atomic
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.snapshot import Snapshot

KEPT = 20
_LONGEST_PROBLEM = 8000
_LARGEST_AUDIT = 4 * 1024 * 1024

# A key, its old and its new value; None is not set.
Difference = tuple[str, str | None, str | None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HistoryState:
    """Numbers of snapshots in the history; 0 is none.

    `applied` is in force, with the content `digest`. `good` is the newest that has passed its
    probation. `pinned` stays in force whatever is published. `releases` has for each namespace the
    key of the `release` in force, and `since` when, in seconds since the epoch.
    """

    applied: int = 0
    digest: str = ""
    good: int = 0
    pinned: int = 0
    releases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class History:
    """The history in one config directory. A failure to write is only logged: a full disk must not
    prevent a configuration from being applied."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._folder = archive.directory / "history"
        self._state_file = archive.directory / "state.json"
        self._audit_file = archive.directory / "audit.jsonl"

    def state(self) -> HistoryState:
        """Return the state, an empty one if none can be read."""
        with suppress(OSError, ValueError, TypeError):
            return HistoryState(**json.loads(self._state_file.read_text()))
        return HistoryState()

    def set_state(self, state: HistoryState) -> None:
        with self._writing():
            atomic.sweep(self._state_file.parent, self._state_file.name)
            atomic.write(self._state_file, json.dumps(asdict(state)).encode())

    def add(self, snapshot: Snapshot) -> int:
        """Keep a snapshot that has been applied; return its number."""
        number = max(self.numbers(), default=self.state().applied) + 1
        with self._writing():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.sweep(self._folder)
            self._archive.store(self.path(number), snapshot)
            for old in self.numbers()[:-KEPT]:
                self.path(old).unlink(missing_ok=True)
        return number

    def numbers(self) -> list[int]:
        """Return all numbers, the oldest first."""
        return sorted(int(path.stem) for path in self._folder.glob("*.json") if path.stem.isdigit())

    def path(self, number: int) -> Path:
        """Return the path of a snapshot."""
        return self._folder / f"{number}.json"

    def find(self, number: int) -> Path:
        """Return the path of a snapshot; 0 is the one before that in force. Raises ConfigError,
        naming those that exist, when it is gone."""
        numbers = self.numbers()
        before = [n for n in numbers if n < self.state().applied]
        wanted = number or (before[-1] if before else 0)
        if wanted not in numbers:
            which = f"snapshot {wanted}" if wanted else "snapshot before the one in force"
            there = ", ".join(map(str, numbers)) or "none"
            raise ConfigError(f"There is no {which} to go back to; there are: {there}.")
        return self.path(wanted)

    def load(self, number: int) -> Snapshot | None:
        """Return a snapshot, or None if it is missing or not valid."""
        return self._archive.usable(self.path(number))

    def record(self, entry: dict[str, Any], changes: Iterable[Difference]) -> None:
        """Append to the audit log, with the values of the changes masked."""
        line = {
            "ts": round(time.time(), 3),
            **entry,
            "problems": [
                excerpt(problem, _LONGEST_PROBLEM) for problem in entry.get("problems", ())
            ],
            "changes": [
                {"key": key, "old": _masked(key, old), "new": _masked(key, new)}
                for key, old, new in changes
            ],
        }
        with self._writing():
            self._append(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def audit(self, most: int = 50) -> list[dict[str, Any]]:
        """Return the newest entries of the audit log, the oldest of them first."""
        entries = []
        with suppress(OSError):
            for line in self._audit_file.read_text().splitlines()[-most:]:
                with suppress(ValueError):  # cut off by a kill
                    entries.append(json.loads(line))
        return [entry for entry in entries if isinstance(entry, dict)]

    def _append(self, line: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._audit_file.stat().st_size > _LARGEST_AUDIT:
                os.replace(self._audit_file, self._audit_file.with_suffix(".jsonl.1"))
        with open(self._audit_file, "ab+", opener=partial(os.open, mode=0o600)) as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                line = b"\n" + line  # a kill has cut off the one before
            file.write(line)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.warning("the history of the configuration cannot be written: %s", error)


def _masked(key: str, value: str | None) -> str | None:
    return None if value is None else mask_value(key, value)
