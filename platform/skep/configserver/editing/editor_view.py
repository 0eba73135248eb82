"""What editors see: items that are not published, releases, history, branches, instances."""

from itertools import islice

from skep.configserver.model.access_keys import AppKey
from skep.configserver.model.apps import AppNamespace, ConfigApp, ConfigCluster, ConfigNamespace
from skep.configserver.model.branches import Branch
from skep.configserver.model.items import Item, values
from skep.configserver.model.journal import AuditEntry, Commit
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import NotFound
from skep.configserver.model.releases import HistoryEntry, StoredRelease
from skep.configserver.model.rights import EVERY_APP, AccessRole, AccessToken, Actor
from skep.configserver.storage import access, branches, items, journal, namespaces, releases
from skep.configserver.storage.database import ConfigDatabase

_MOST_FOUND = 1000


class EditorView:
    """Reads for people and scripts. Every method raises RoleMissing unless the actor may read the
    app, or for keys, tokens and the whole audit log, is an administrator; and NotFound where the
    namespace asked for is missing."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def apps(self, actor: Actor) -> list[ConfigApp]:
        """Return the apps that the actor may read."""
        found = namespaces.apps(self._database.reader)
        return [app for app in found if actor.role(app.app_id) >= AccessRole.READ]

    def app(self, actor: Actor, app_id: str) -> ConfigApp:
        """Return one app. Raises NotFound."""
        actor.require(AccessRole.READ, app_id)
        found = namespaces.app(self._database.reader, app_id)
        if found is None:
            raise NotFound(f"There is no app {app_id!r}.")
        return found

    def clusters(self, actor: Actor, app_id: str) -> list[ConfigCluster]:
        """Return the clusters of an app, without its branches."""
        actor.require(AccessRole.READ, app_id)
        return namespaces.clusters(self._database.reader, app_id)

    def cluster(self, actor: Actor, app_id: str, name: str) -> ConfigCluster:
        """Return one cluster. Raises NotFound."""
        actor.require(AccessRole.READ, app_id)
        found = namespaces.cluster(self._database.reader, app_id, name)
        if found is None:
            raise NotFound(f"There is no cluster {name!r} of {app_id!r}.")
        return found

    def app_namespaces(self, actor: Actor, app_id: str) -> list[AppNamespace]:
        """Return the namespaces that an app defines."""
        actor.require(AccessRole.READ, app_id)
        return namespaces.app_namespaces(self._database.reader, app_id)

    def namespaces(self, actor: Actor, app_id: str, cluster: str) -> list[ConfigNamespace]:
        """Return the namespaces of a cluster."""
        actor.require(AccessRole.READ, app_id)
        return namespaces.namespaces(self._database.reader, app_id, cluster)

    def namespace(self, actor: Actor, address: Address) -> ConfigNamespace:
        """Return one namespace."""
        actor.require(AccessRole.READ, address.app_id)
        return namespaces.namespace(self._database.reader, address)

    def items(self, actor: Actor, address: Address) -> list[Item]:
        """Return the items in the editor's order, comments and blank lines among them."""
        namespace_id = self._namespace_id(actor, address)
        return items.items(self._database.reader, namespace_id)

    def item(self, actor: Actor, address: Address, key: str) -> Item:
        """Return one item. Raises NotFound."""
        found = items.item(self._database.reader, self._namespace_id(actor, address), key)
        if found is None:
            raise NotFound(f"There is no key {key!r} in {address}.")
        return found

    def search(self, actor: Actor, key: str, value: str) -> list[tuple[Address, Item]]:
        """Return the items of the apps that the actor may read whose key and value have these texts
        in them, up to 1000."""
        found = items.search(self._database.reader, key, value)
        seen = ((at, item) for at, item in found if actor.role(at.app_id) >= AccessRole.READ)
        return list(islice(seen, _MOST_FOUND))

    def is_pending(self, actor: Actor, address: Address) -> bool:
        """Return whether the items differ from the release in force."""
        edited = values(self.items(actor, address))
        release = releases.latest(self._database.reader, address)
        return edited != (release.values() if release else {})

    def latest_release(self, actor: Actor, address: Address) -> StoredRelease | None:
        """Return the release in force at this address and no other: no fallback is made."""
        actor.require(AccessRole.READ, address.app_id)
        return releases.latest(self._database.reader, address)

    def release(self, actor: Actor, release_id: int) -> StoredRelease:
        """Return one release. Raises NotFound."""
        found = releases.by_id(self._database.reader, release_id)
        actor.require(AccessRole.READ, found.address.app_id)
        return found

    def releases(
        self, actor: Actor, address: Address, first: int, count: int, *, active: bool = False
    ) -> list[StoredRelease]:
        """Return releases of a namespace, the newest first; only those not rolled back if asked."""
        self._namespace_id(actor, address)
        return releases.page(self._database.reader, address, first, count, active=active)

    def history(self, actor: Actor, address: Address, first: int, count: int) -> list[HistoryEntry]:
        """Return what became of the releases of a namespace and its branches, the newest first."""
        self._namespace_id(actor, address)
        return releases.history(self._database.reader, address, first, count)

    def commits(
        self, actor: Actor, address: Address, first: int, count: int, key: str = ""
    ) -> list[Commit]:
        """Return the saves of a namespace, also of a deleted one, the newest first."""
        actor.require(AccessRole.READ, address.app_id)
        return journal.commits(self._database.reader, address, first, count, key)

    def branch(self, actor: Actor, parent: Address) -> Branch | None:
        """Return the branch of a namespace."""
        self._namespace_id(actor, parent)
        return branches.of_parent(self._database.reader, parent)

    def keys(self, actor: Actor, app_id: str) -> list[AppKey]:
        """Return the access keys of an app, with their secrets."""
        actor.require(AccessRole.ADMIN, app_id)
        return access.keys(self._database.reader, app_id)

    def tokens(self, actor: Actor) -> list[AccessToken]:
        """Return all tokens, revoked ones too."""
        actor.require(AccessRole.ADMIN, EVERY_APP)
        return access.tokens(self._database.reader)

    def audit(self, actor: Actor, app_id: str, count: int, before: int = 0) -> list[AuditEntry]:
        """Return entries of the audit log, the newest first; of every app if `app_id` is empty."""
        actor.require(*((AccessRole.READ, app_id) if app_id else (AccessRole.ADMIN, EVERY_APP)))
        return journal.audit(self._database.reader, app_id, count, before)

    def _namespace_id(self, actor: Actor, address: Address) -> int:
        actor.require(AccessRole.READ, address.app_id)
        return namespaces.require(self._database.reader, address)[0]
