"""Snapshots on disk: the last known good one, candidates on their way to the supervisor, and what a
start finds there.

    <config_dir>/applied.json                  what the last committed generation runs with
    <config_dir>/candidates/<digest>.json      pulled, staged, not in force
    <config_dir>/namespaces/APP+CLUSTER+….json the releases of `applied.json`, one by one

Each file names its owner and has a checksum. What is damaged, cut off, of another owner or of a
later version is ignored with a warning. Its time is not checked: a machine without a clock must
still be able to start from it.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

from skep.base.errors import ConfigError
from skep.config.env import atomic, dotenv
from skep.config.errors import Unusable
from skep.config.options.table import Options
from skep.config.snapshots.snapshot import Release, Snapshot, canonical

T = TypeVar("T")
Policy = Literal["require", "cache", "optional"]
Source = Literal["remote", "cache", "file", "none"]

_FORMAT = 1

log = logging.getLogger(__name__)


class Cache:
    """The release of each namespace of one app id and cluster that was applied last, a file each.

    The applied snapshot counts first. These files count when it is damaged, or when the list of
    namespaces has changed. A release without values does not replace a file with values: that is
    usually an accident.
    """

    def __init__(self, directory: Path, app_id: str, cluster: str) -> None:
        self._directory = directory
        self._owner = (app_id, cluster)
        self._kept: dict[str, Release] = {}

    def path(self, namespace: str) -> Path:
        """Return where the release of a namespace is kept."""
        names = (quote(name, safe="") for name in (*self._owner, namespace))
        return self._directory / f"{'+'.join(names)}.json"

    def find(self, namespace: str) -> Release | None:
        """Return the valid release of a namespace, or None."""

        def decoded(data: bytes) -> Release:
            releases = Snapshot.from_json(_unsealed(data).get("snapshot")).releases
            owners = [(one.app_id, one.cluster, one.namespace) for one in releases]
            if owners != [(*self._owner, namespace)]:
                raise ConfigError("it belongs to another app id, cluster or namespace.")
            return releases[0]

        return _valid(self.path(namespace), decoded)

    def keep(self, releases: Iterable[Release]) -> None:
        """Write the files of new releases, as the only writer. They need not survive a power cut:
        the checksum shows a torn file. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.sweep(self._directory)
        for release in releases:
            if release.release_key and release != self._kept.get(release.namespace):
                known = self.find(release.namespace)
                if release != known and (known is None or release.configurations):
                    body = {"snapshot": Snapshot((release,), 0.0).to_json()}
                    atomic.write(self.path(release.namespace), _sealed(body), durable=False)
                self._kept[release.namespace] = release


class Archive:
    """The snapshots of one app id, cluster and list of namespaces in one directory."""

    def __init__(
        self, directory: Path, app_id: str, cluster: str, namespaces: Sequence[str]
    ) -> None:
        self.directory = directory
        self._applied = directory / "applied.json"
        self._candidates = directory / "candidates"
        names = [canonical(namespace) for namespace in namespaces]
        self._owner: tuple[str, str, list[str]] = (app_id, cluster, names)
        self._cache = Cache(directory / "namespaces", app_id, cluster)
        self._warned = False

    @classmethod
    def of(cls, options: Options, directory: Path) -> Self:
        """Return the archive of the platform with these options."""
        return cls(directory, options.app_id, options.cluster, options.namespace)

    def stage(self, snapshot: Snapshot) -> Path:
        """Keep a snapshot as a candidate; return its path. Raises ConfigError. A candidate need not
        survive a power cut: it would be pulled again."""
        path = self._candidates / f"{snapshot.digest}.json"
        try:
            self._candidates.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(path, self._encoded(snapshot), durable=False)
        except OSError as error:
            raise ConfigError(
                f"The new config cannot be kept in {self._candidates} ({error.strerror})."
            ) from error
        return path

    def is_candidate(self, path: Path) -> bool:
        """Return whether a path is that of a candidate."""
        return path.parent == self._candidates

    def store(self, path: Path, snapshot: Snapshot) -> None:
        """Write a snapshot to a file, for `load`. Raises OSError."""
        atomic.write(path, self._encoded(snapshot))

    def load(self, path: Path) -> Snapshot | None:
        """Return the valid snapshot in a file, or None."""
        return _valid(path, self._decoded)

    def commit(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot as the last known good one; return whether that worked.

        A full or read-only disk is only logged, once: until it is repaired, the platform cannot
        start without the config server.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.sweep(self.directory, self._applied.name)
            atomic.write(self._applied, self._encoded(snapshot))
            self._cache.keep(snapshot.releases)
        except OSError as error:
            if not self._warned:
                log.warning(
                    "the config cannot be kept in %s (%s): without the config server the platform "
                    "would not start again",
                    self._applied,
                    error.strerror,
                )
            self._warned = True
            return False
        self._warned = False
        return True

    def applied(self) -> Snapshot | None:
        """Return the last known good snapshot, or None."""
        return self.usable(self._applied)

    def usable(self, path: Path) -> Snapshot | None:
        """Return the valid snapshot in a file, None also if it cannot be an environment: what an
        earlier version applied must not prevent its correction."""
        snapshot = self.load(path)
        try:
            if snapshot is not None:
                snapshot.values()
        except Unusable as error:
            log.warning("%s is ignored: %s", path, error)
            return None
        return snapshot

    def kept(self, namespace: str) -> Release | None:
        """Return the release of a namespace that was applied last, in any snapshot."""
        applied = self.applied()
        return (applied.release(namespace) if applied else None) or self._cache.find(namespace)

    def empty(self, namespace: str) -> Release:
        """Return a release without keys that no server has published."""
        app_id, cluster, _ = self._owner
        return Release(app_id, cluster, namespace, "", {})

    def assembled(self, *, whole: bool = True) -> Snapshot | None:
        """Return the releases of all namespaces that were applied last, in any snapshot.

        None if there is none, or if `whole` and one is missing; otherwise a missing one is empty,
        without release key.
        """
        namespaces = self._owner[2]
        found = [self._cache.find(namespace) for namespace in namespaces]
        if not any(found) or (whole and not all(found)):
            return None
        releases = (
            release or self.empty(namespace)
            for release, namespace in zip(found, namespaces, strict=True)
        )
        return Snapshot(tuple(releases), time.time())

    def holding(self, values: Mapping[str, str]) -> Snapshot:
        """Return a snapshot of these variables in the first namespace, without release keys; the
        other namespaces are empty."""
        app_id, cluster, namespaces = self._owner
        first = Release(app_id, cluster, namespaces[0], "", dict(values))
        return Snapshot((first, *map(self.empty, namespaces[1:])), time.time())

    def prune(self, keep: int = 8) -> None:
        """Delete all but the newest candidates, and the temporary files of killed processes."""
        atomic.sweep(self._candidates)
        with suppress(OSError):
            found = [(path.stat().st_mtime_ns, path) for path in self._candidates.glob("*.json")]
            for _, path in sorted(found, reverse=True)[keep:]:
                path.unlink(missing_ok=True)

    def _encoded(self, snapshot: Snapshot) -> bytes:
        app_id, cluster, namespaces = self._owner
        body = {"app_id": app_id, "cluster": cluster, "namespaces": namespaces}
        return _sealed({**body, "snapshot": snapshot.to_json()})

    def _decoded(self, data: bytes) -> Snapshot:
        document = _unsealed(data)
        whose = tuple(document.get(name) for name in ("app_id", "cluster", "namespaces"))
        if whose != self._owner:
            raise ConfigError("it belongs to another app id, cluster or list of namespaces.")
        snapshot = Snapshot.from_json(document.get("snapshot"))
        if list(snapshot.release_keys()) != self._owner[2]:
            raise ConfigError("it does not hold the namespaces it says it holds.")
        return snapshot


@dataclass(frozen=True)
class StartSnapshot:
    """A snapshot to start from, and where it was found."""

    snapshot: Snapshot
    source: Source


class StartSource:
    """Where a start finds its configuration when the config service gives nothing.

        the applied snapshot      or, if that is unusable, the cached release of every namespace
        the managed block         of the environment file, which has no checksum
        some cached releases      the other namespaces are empty
        nothing                   every namespace is empty

    The policy `require` allows none of them, `cache` a whole configuration that was applied,
    `optional` all.
    """

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


def _valid(path: Path, decode: Callable[[bytes], T]) -> T | None:
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ConfigError) as error:
        log.warning("%s is ignored: %s", path, error)
        return None


def _sealed(body: Mapping[str, Any]) -> bytes:
    document = {"format": _FORMAT, **body}
    return json.dumps({**document, "checksum": _checksum(document)}, indent=1).encode()


def _unsealed(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError("it is damaged or cut off.") from None
    if not isinstance(document, dict):
        raise ConfigError("it is damaged.")
    if document.get("format") != _FORMAT:
        raise ConfigError("it was written by another version of the platform.")
    if document.pop("checksum", None) != _checksum(document):
        raise ConfigError("its checksum is wrong.")
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()
