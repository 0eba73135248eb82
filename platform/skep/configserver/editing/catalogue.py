"""Making apps, clusters and namespaces, and deleting namespaces."""

from dataclasses import asdict

from skep.configserver.editing.branching import end_branch
from skep.configserver.editing.policies import policy_at
from skep.configserver.model.apps import AppDetails, AppNamespace, ConfigApp, ConfigCluster
from skep.configserver.model.items import ItemChanges
from skep.configserver.model.limits import check_name
from skep.configserver.model.names import DEFAULT_CLUSTER, Address, is_branch_name
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.releases import ReleaseOperation
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import branches, items, journal, namespaces
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction

_FIRST_NAMESPACE = "application"


class Catalogue:
    """The apps with their clusters and namespaces. Making needs the role edit, deleting publish, or
    admin where a publish needs a second person: else RoleMissing is raised. A bad name raises
    InvalidRequest."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def create_app(self, actor: Actor, app_id: str, details: AppDetails) -> ConfigApp:
        """Make an app with the cluster `default` and the namespace `application`; raises
        InvalidRequest if it exists."""
        actor.require(AccessRole.EDIT, app_id)
        with self._database.changing(actor) as change:
            if namespaces.app(change.db, app_id) is not None:
                raise InvalidRequest(f"There is an app {app_id!r} already.")
            namespaces.open_namespace(change, Address(app_id, DEFAULT_CLUSTER, _FIRST_NAMESPACE))
            columns = asdict(details)
            change.db.execute(
                f"UPDATE app SET {', '.join(f'{column} = ?' for column in columns)} WHERE name = ?",
                (*columns.values(), app_id),
            )
            change.record("app.create", Address(app_id, "", ""))
            made = namespaces.app(change.db, app_id)
            assert made is not None, "what was inserted a moment ago in this transaction is there"
            return made

    def create_cluster(self, actor: Actor, app_id: str, name: str) -> ConfigCluster:
        """Make a cluster with all namespaces that the app defines; raises InvalidRequest if it
        exists, NotFound without the app."""
        actor.require(AccessRole.EDIT, app_id)
        check_name("cluster", name)
        if is_branch_name(name):
            raise InvalidRequest(
                f"No cluster can be called {name!r}: that is the name of a branch."
            )
        with self._database.changing(actor) as change:
            app = _app(change, app_id)
            if namespaces.cluster(change.db, app_id, name) is not None:
                raise InvalidRequest(f"There is a cluster {name!r} of {app_id!r} already.")
            namespaces.insert(change, "cluster", {"app_id": app.id, "name": name})
            for defined in namespaces.app_namespaces(change.db, app_id):
                namespaces.open_namespace(change, Address(app.app_id, name, defined.name))
            change.record("cluster.create", Address(app.app_id, name, ""))
            made = namespaces.cluster(change.db, app_id, name)
            assert made is not None, "what was inserted a moment ago in this transaction is there"
            return made

    def create_app_namespace(
        self, actor: Actor, app_id: str, name: str, comment: str, *, public: bool
    ) -> AppNamespace:
        """Define a namespace for all clusters of an app, and for all apps if it is public.

        Raises InvalidRequest if the app has it already, or if it is public and any app has a public
        one of that name; NotFound without the app.
        """
        actor.require(AccessRole.EDIT, app_id)
        check_name("namespace", name)
        with self._database.changing(actor) as change:
            app = _app(change, app_id)
            if namespaces.app_namespace(change.db, app_id, name) is not None:
                raise InvalidRequest(f"The app {app_id!r} has a namespace {name!r} already.")
            other = namespaces.public_namespace(change.db, name)
            if public and other is not None:
                raise InvalidRequest(
                    f"The app {other.app_id!r} has a public namespace {other.name!r} already."
                )
            columns = {
                "app_id": app.id,
                "name": name,
                "is_public": int(public),
                "comment": comment,
            }
            namespaces.insert(change, "app_namespace", columns)
            for cluster in namespaces.clusters(change.db, app_id):
                namespaces.open_namespace(change, Address(app.app_id, cluster.name, name))
            change.record("app_namespace.create", Address(app.app_id, "", name), public=public)
            made = namespaces.app_namespace(change.db, app_id, name)
            assert made is not None, "what was inserted a moment ago in this transaction is there"
            return made

    def create_namespace(self, actor: Actor, address: Address) -> Address:
        """Make a namespace in one cluster; with the name of another app's public namespace it
        overrides that one's values. Raises InvalidRequest if it exists, NotFound without the
        cluster or if no such namespace is defined."""
        actor.require(AccessRole.EDIT, address.app_id)
        with self._database.changing(actor) as change:
            if namespaces.cluster(change.db, address.app_id, address.cluster) is None:
                raise NotFound(f"There is no cluster {address.cluster!r} of {address.app_id!r}.")
            if namespaces.find(change.db, address) is not None:
                raise InvalidRequest(f"There is a namespace {address} already.")
            own = namespaces.app_namespace(change.db, address.app_id, address.namespace)
            public = namespaces.public_namespace(change.db, address.namespace)
            if own is None and public is None:
                raise NotFound(
                    f"The app {address.app_id!r} defines no namespace {address.namespace!r}, and "
                    "there is no public one of that name."
                )
            _, at = namespaces.open_namespace(change, address)
            change.record("namespace.create", at)
            return at

    def delete_namespace(self, actor: Actor, address: Address) -> None:
        """Delete a namespace of one cluster: its items, releases, history and branch. Its clients
        are notified. The commit log keeps the items. Raises NotFound."""
        actor.require(AccessRole.PUBLISH, address.app_id)
        with self._database.changing(actor) as change:
            _delete_namespace(change, address)

    def delete_app_namespace(self, actor: Actor, app_id: str, name: str) -> None:
        """Delete a namespace in all clusters of an app, and its definition. Raises NotFound."""
        actor.require(AccessRole.PUBLISH, app_id)
        with self._database.changing(actor) as change:
            defined = namespaces.app_namespace(change.db, app_id, name)
            if defined is None:
                raise NotFound(f"The app {app_id!r} defines no namespace {name!r}.")
            for cluster in namespaces.clusters(change.db, app_id):
                address = Address(defined.app_id, cluster.name, defined.name)
                if namespaces.find(change.db, address) is not None:
                    _delete_namespace(change, address)
            change.db.execute("DELETE FROM app_namespace WHERE id = ?", (defined.id,))
            change.record("app_namespace.delete", Address(defined.app_id, "", defined.name))


def _app(change: WriteTransaction, app_id: str) -> ConfigApp:
    app = namespaces.app(change.db, app_id)
    if app is None:
        raise NotFound(f"There is no app {app_id!r}.")
    return app


def _delete_namespace(change: WriteTransaction, address: Address) -> None:
    namespace_id, at = namespaces.require(change.db, address)
    branch = branches.of_parent(change.db, at)
    if branch is not None:
        end_branch(change, branch, ReleaseOperation.ABANDON_GRAY)
    if branches.of_address(change.db, at) is not None:
        raise InvalidRequest(f"{at} is a branch: delete the branch of its parent.")
    if policy_at(change.db, at).approval:
        # Otherwise one person could delete it and publish a new one of this name.
        change.actor.require(AccessRole.ADMIN, at.app_id)
    lost = items.items(change.db, namespace_id)
    if lost:
        journal.write_commit(change, at, ItemChanges(deleted=lost))
    namespaces.delete_namespace(change, namespace_id)
    change.announce(at)
    change.record("namespace.delete", at)
