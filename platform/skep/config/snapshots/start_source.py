"""Where a start finds its configuration when the config service gives nothing.

    the applied snapshot      or, if that is unusable, the cached release of every namespace
    the managed block         of the environment file, which has no checksum
    some cached releases      the other namespaces are empty
    nothing                   every namespace is empty

The start policy limits how far down this list a start may go.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skep.config.env import dotenv
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.snapshot import Release, Snapshot

Policy = Literal["require", "cache", "optional"]
Source = Literal["remote", "cache", "file", "none"]


@dataclass(frozen=True)
class StartSnapshot:
    """A snapshot to start from, and where it was found."""

    snapshot: Snapshot
    source: Source


class StartSource:
    """What one platform may start from: with `require` nothing, with `cache` a whole configuration
    that was applied, with `optional` anything."""

    def __init__(self, archive: Archive, env_file: Path, policy: Policy = "cache") -> None:
        self.archive = archive
        self.policy = policy
        self._env_file = env_file

    def find(self) -> StartSnapshot | None:
        """Return the best available, None if the policy allows none. Raises ConfigError if the
        environment file is needed and cannot be read."""
        if self.policy == "require":
            return None
        whole = self.archive.applied() or self.archive.assembled()
        if whole is not None:
            return StartSnapshot(whole, "cache")
        return self._anything() if self.policy == "optional" else None

    def kept(self, namespace: str) -> Release | None:
        """Return the release that a namespace keeps while the service gives none, if any."""
        if self.policy == "require":
            return None
        kept = self.archive.kept(namespace)
        return kept or (self.archive.empty(namespace) if self.policy == "optional" else None)

    def _anything(self) -> StartSnapshot:
        values = dotenv.managed(dotenv.read(self._env_file), str(self._env_file))
        if values:
            return StartSnapshot(self.archive.holding(values), "file")
        some = self.archive.assembled(whole=False)
        return (
            StartSnapshot(some, "cache")
            if some
            else StartSnapshot(self.archive.holding({}), "none")
        )
