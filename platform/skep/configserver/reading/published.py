"""Which releases a client gets: fallback of clusters, gray rules, public namespaces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skep.configserver.model.branches import Branch
from skep.configserver.model.instances import Asker
from skep.configserver.model.names import Address, bare, fallback, fold
from skep.configserver.model.releases import (
    Notification,
    StoredRelease,
    configuration_changes,
)
from skep.configserver.reading.read_cache import ReadCache
from skep.configserver.storage import branches, namespaces, releases

# A client that names no app sends this; it gets public namespaces only.
_NO_APP = fold("ApolloNoAppIdPlaceHolder")
# Every app has it, and it is never another's public one.
_APPLICATION = "application"


@dataclass(frozen=True, slots=True)
class ChosenRelease:
    """A release that a client gets, and the namespace it is chosen for: a gray release counts for
    the parent of its branch."""

    namespace: Address
    release: StoredRelease


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a client gets: its app's own release first, then the public one that this overrides."""

    cluster: str
    chosen: tuple[ChosenRelease, ...]

    @property
    def release_key(self) -> str:
        """The keys of the releases, joined."""
        return "+".join(one.release.release_key for one in self.chosen)

    def values(self) -> dict[str, str]:
        """Return the configuration, the public one's keys first."""
        merged: dict[str, str] = {}
        for one in reversed(self.chosen):
            merged |= one.release.values()
        return merged


@dataclass(frozen=True, slots=True)
class _Slot:
    """What is in force at one address, and for whom else."""

    release: StoredRelease | None
    branch: Branch | None
    gray: StoredRelease | None


class Published:
    """Reads what is in force. Names are found in any case, with or without `.properties`."""

    def __init__(self, cache: ReadCache) -> None:
        self._cache = cache

    def config(self, asker: Asker, namespace: str) -> ClientConfig | None:
        """Return what a client gets of a namespace, or None if nothing is published for it."""
        name = bare(namespace)
        clusters = fallback(asker.cluster, asker.data_center)
        owners = self._owners(asker.app_id, name)
        found = [self._choose(asker, owner, clusters, name) for owner in owners]
        chosen = tuple(one for one in found if one is not None)
        if not chosen:
            return None
        own = fold(chosen[0].namespace.app_id) == fold(asker.app_id)
        cluster = chosen[0].release.address.cluster if own else asker.cluster
        return ClientConfig(cluster, chosen)

    def changes(self, config: ClientConfig, known_key: str) -> list[dict[str, str]] | None:
        """Return what turns the configuration with a known release key into this one, or None if
        one of the releases in the key is not known or not of this namespace."""
        own = {(fold(at.app_id), fold(at.namespace)) for at in (c.namespace for c in config.chosen)}
        old: dict[str, str] = {}
        # Reversed, because the key names the app's own release first.
        for key in reversed(known_key.split("+")):
            release = releases.by_key(self._cache.database.reader, key)
            at = release.address.fold() if release else None
            if release is None or at is None or (at.app_id, at.namespace) not in own:
                return None
            old |= release.values()
        return configuration_changes(old, config.values()) if old else None

    def watched(self, app_id: str, clusters: Sequence[str], names: Iterable[str]) -> list[Address]:
        """Return the addresses whose changes concern a client."""
        return [
            Address(owner, cluster, name)
            for name in names
            for owner in self._owners(app_id, name)
            for cluster in clusters
        ]

    def notifications(
        self, app_id: str, clusters: Sequence[str], names: Iterable[str]
    ) -> list[Notification]:
        """Return the latest change of each address that concerns a client."""
        by_owner: dict[str, list[str]] = {}
        for name in names:
            for owner in self._owners(app_id, name):
                by_owner.setdefault(owner, []).append(name)
        reader = self._cache.database.reader
        found = (releases.notifications(reader, o, clusters, its) for o, its in by_owner.items())
        return [notification for its in found for notification in its]

    def _choose(
        self, asker: Asker, owner: str, clusters: Sequence[str], name: str
    ) -> ChosenRelease | None:
        for cluster in clusters:
            address = Address(owner, cluster, name)
            slot = self._slot(address)
            reached = slot.branch and slot.branch.reaches(asker.app_id, asker.ip, asker.label)
            release = slot.gray if slot.gray and reached else slot.release
            if release is not None:
                # In the spelling of the file, which instances and messages use.
                at = slot.branch.parent if release is slot.gray and slot.branch else release.address
                return ChosenRelease(at, release)
        return None

    def _slot(self, address: Address) -> _Slot:
        return self._cache.get(("slot", address.fold()), lambda: self._read_slot(address))

    def _read_slot(self, address: Address) -> _Slot:
        reader = self._cache.database.reader
        branch = branches.of_parent(reader, address)
        gray = releases.by_id(reader, branch.release_id) if branch and branch.release_id else None
        return _Slot(releases.latest(reader, address), branch, gray)

    def _owners(self, app_id: str, name: str) -> list[str]:
        """Return the apps whose releases of a namespace a client gets, its own first."""
        key = ("owners", fold(app_id), fold(name))
        return self._cache.get(key, lambda: self._read_owners(app_id, name))

    def _read_owners(self, app_id: str, name: str) -> list[str]:
        reader = self._cache.database.reader
        owners = [] if fold(app_id) == _NO_APP else [app_id]
        own = fold(name) == _APPLICATION or (
            owners and namespaces.app_namespace(reader, app_id, name) is not None
        )
        public = None if own else namespaces.public_namespace(reader, name)
        if public is not None and fold(public.app_id) != fold(app_id):
            owners.append(public.app_id)
        return owners
