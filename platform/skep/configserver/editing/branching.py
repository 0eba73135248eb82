"""Branches: gray releases for some of the clients of a namespace."""

import secrets
import time
from collections.abc import Iterable, Sequence

from skep.configserver.editing.items import commit_items, write_items
from skep.configserver.editing.policies import check_approval, check_release
from skep.configserver.editing.release_steps import ReleaseTitle, release_branch, release_master
from skep.configserver.model.branches import Branch, GrayRule, rules_to_json
from skep.configserver.model.items import Draft, values
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.releases import ReleaseOperation, StoredRelease
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import branches, items, namespaces, releases
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction

_MOST_RULES = 1000


class BranchEditor:
    """Makes, releases and ends branches. Their items are edited at the branch's own address."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def create(self, actor: Actor, parent: Address) -> Branch:
        """Make the branch of a namespace. Raises NotFound without the namespace, InvalidRequest if
        it has a branch already; RoleMissing unless the actor may edit the app."""
        actor.require(AccessRole.EDIT, parent.app_id)
        with self._database.changing(actor) as change:
            parent_id, at = namespaces.require(change.db, parent)
            if branches.of_parent(change.db, at) is not None:
                raise InvalidRequest(f"There is a branch of {at} already.")
            if branches.of_address(change.db, at) is not None:
                raise InvalidRequest(f"{at} is a branch itself: branch its parent.")
            cluster = namespaces.cluster(change.db, at.app_id, at.cluster)
            app = namespaces.app(change.db, at.app_id)
            assert cluster is not None, "the namespace lies in it"
            assert app is not None, "the namespace lies in it"
            moment = time.strftime("%Y%m%d%H%M%S", time.gmtime(change.now / 1000))
            name = f"{moment}-{secrets.token_hex(8)}"
            columns = {"app_id": app.id, "name": name, "parent_id": cluster.id}
            cluster_id = namespaces.insert(change, "cluster", columns)
            namespace_id = namespaces.insert(
                change, "namespace", {"cluster_id": cluster_id, "name": at.namespace}
            )
            branches.insert(change, namespace_id, parent_id)
            change.record("branch.create", at, branch=name)
            return _branch(change, at, name)

    def set_rules(
        self, actor: Actor, parent: Address, name: str, rules: Sequence[GrayRule]
    ) -> None:
        """Replace the rules of a branch; at once for its clients, if it was released. Raises
        NotFound without the branch, RoleMissing unless the actor may publish the app."""
        actor.require(AccessRole.PUBLISH, parent.app_id)
        if len(rules) > _MOST_RULES:
            raise InvalidRequest(f"A branch has {_MOST_RULES} rules at most.")
        with self._database.changing(actor) as change:
            branch = _branch(change, parent, name)
            branches.set_rules(change, branch, rules)
            context = {"rules": rules_to_json(rules), "oldRules": rules_to_json(branch.rules)}
            _write_history(change, branch, ReleaseOperation.RULES, **context)
            change.announce(branch.parent)
            change.record("branch.rules", branch.parent, branch=name, **context)

    def publish(
        self,
        actor: Actor,
        parent: Address,
        name: str,
        title: ReleaseTitle,
        removed: Iterable[str] = (),
    ) -> StoredRelease:
        """Release the items of a branch on top of what its master has in force, without the keys
        that are `removed`. Raises NotFound, ReleaseRefused if that breaks a rule of the namespace,
        ApprovalMissing if it needs a second person; RoleMissing unless the actor may publish."""
        actor.require(AccessRole.PUBLISH, parent.app_id)
        with self._database.changing(actor) as change:
            branch = _branch(change, parent, name)
            check_approval(change.db, branch.address)
            own = values(items.items(change.db, branch.namespace_id))
            return release_branch(change, branch, {**own, **dict.fromkeys(removed)}, title)

    def merge(
        self, actor: Actor, parent: Address, name: str, title: ReleaseTitle, *, delete: bool
    ) -> StoredRelease:
        """Write the items of a branch into its master and publish that; `delete` ends the branch.
        Raises NotFound, ReleaseRefused if that breaks a rule of the namespace, ApprovalMissing if
        it needs a second person, and RoleMissing unless the actor may publish."""
        actor.require(AccessRole.PUBLISH, parent.app_id)
        with self._database.changing(actor) as change:
            branch = _branch(change, parent, name)
            check_approval(change.db, branch.parent)
            drafts = [
                Draft(item.key, item.value, item.comment, item.type)
                for item in items.items(change.db, branch.namespace_id)
                if item.key
            ]
            commit_items(change, branch.parent, write_items(change, branch.parent_id, drafts))
            if delete:
                end_branch(change, branch, ReleaseOperation.DELETE_AFTER_MERGE)
            merged = values(items.items(change.db, branch.parent_id))
            check_release(change, branch.parent_id, branch.parent, merged)
            return release_master(
                change,
                branch.parent_id,
                branch.parent,
                merged,
                title,
                ReleaseOperation.MERGE_TO_MASTER,
                sourceBranch=name,
            )

    def delete(self, actor: Actor, parent: Address, name: str) -> None:
        """End a branch: its clients get the master's release. Raises NotFound, and RoleMissing
        unless the actor may publish."""
        actor.require(AccessRole.PUBLISH, parent.app_id)
        with self._database.changing(actor) as change:
            branch = _branch(change, parent, name)
            end_branch(change, branch, ReleaseOperation.ABANDON_GRAY)
            change.announce(branch.parent)


def end_branch(change: WriteTransaction, branch: Branch, operation: ReleaseOperation) -> None:
    """Delete a branch with its items and releases."""
    _write_history(change, branch, operation)
    branches.delete(change, branch)
    cluster = namespaces.cluster(change.db, branch.address.app_id, branch.address.cluster)
    namespaces.delete_namespace(change, branch.namespace_id)
    if cluster is not None:
        change.db.execute("DELETE FROM cluster WHERE id = ?", (cluster.id,))
    change.record("branch.delete", branch.parent, branch=branch.address.cluster)


def _write_history(
    change: WriteTransaction, branch: Branch, operation: ReleaseOperation, **context: str
) -> None:
    master = releases.latest(change.db, branch.parent)
    ids = (branch.release_id or (master.id if master else 0), branch.release_id or 0)
    name = branch.address.cluster
    releases.write_history(change, branch.parent_id, name, ids, operation, context)


def _branch(change: WriteTransaction, parent: Address, name: str) -> Branch:
    branch = branches.of_parent(change.db, parent)
    if branch is None or branch.address.cluster != name:
        raise NotFound(f"There is no branch {name!r} of {parent}.")
    return branch
