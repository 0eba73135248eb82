"""Publishing a namespace, and rolling it back."""

from collections.abc import Sequence

from skep.configserver.editing.item_release import release_items
from skep.configserver.editing.items import restore_items
from skep.configserver.editing.policies import check_approval
from skep.configserver.editing.release_steps import (
    ReleaseTitle,
    carry_into_branch,
    release_master,
)
from skep.configserver.model.items import Draft, values
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.releases import ReleaseOperation, StoredRelease
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import branches, items, namespaces, releases
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction


class Publisher:
    """Puts items in force. Every method raises RoleMissing unless the actor may publish the app."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def publish(self, actor: Actor, address: Address, title: ReleaseTitle) -> StoredRelease:
        """Make the items of a namespace, which need not exist, its release in force; also without a
        change. At the address of a branch that is a gray release. Raises InvalidRequest for a bad
        name, ReleaseRefused if the items break a rule of the namespace, ApprovalMissing if it
        needs a second person."""
        actor.require(AccessRole.PUBLISH, address.app_id)
        with self._database.changing(actor) as change:
            check_approval(change.db, address)
            return release_items(change, address, title)

    def roll_back(
        self, actor: Actor, release_id: int, to: int = 0, *, restore: bool = False
    ) -> StoredRelease:
        """Abandon a release, so that the active one before it is in force again, or all after the
        release `to`; return the one in force.

        The items keep what was edited since then, unless `restore` puts them back too. Raises
        NotFound for an unknown release; InvalidRequest if there is nothing to go back to.
        """
        release = releases.by_id(self._database.reader, release_id)
        actor.require(AccessRole.PUBLISH, release.address.app_id)
        with self._database.changing(actor) as change:
            at = release.address
            given_up = _given_up(change, release_id, to)
            releases.abandon(change, given_up)
            current = releases.latest(change.db, at)
            assert current is not None, "an active release is left: that was checked"
            namespace_id, _ = namespaces.require(change.db, at)
            ids = (current.id, release_id)
            releases.write_history(
                change, namespace_id, at.cluster, ids, ReleaseOperation.ROLLBACK, {}
            )
            carry_into_branch(change, at, current, ReleaseOperation.ROLLBACK_TO_GRAY)
            change.announce(at)
            change.record(
                "release.rollback", at, abandoned=[one.id for one in given_up], release=current.id
            )
            if restore:
                restore_items(change, at)
            return current

    def introduce(
        self, actor: Actor, address: Address, drafts: Sequence[Draft], title: ReleaseTitle
    ) -> bool:
        """Make and publish a namespace with these items, unless it exists; return whether it did
        not. Raises InvalidRequest for a bad name."""
        actor.require(AccessRole.PUBLISH, address.app_id)
        with self._database.changing(actor) as change:
            if namespaces.find(change.db, address):
                return False
            namespace_id, at = namespaces.open_namespace(change, address)
            made = [items.insert(change, namespace_id, draft) for draft in drafts]
            release_master(change, namespace_id, at, values(made), title)
            return True

    def ensure_release(self, actor: Actor, address: Address, title: ReleaseTitle) -> bool:
        """Publish an empty release if the namespace has none in force; return whether it did.
        Unpublished items stay unpublished."""
        actor.require(AccessRole.PUBLISH, address.app_id)
        with self._database.changing(actor) as change:
            namespace_id, at = namespaces.open_namespace(change, address)
            if releases.latest(change.db, at):
                return False
            release_master(change, namespace_id, at, {}, title)
            return True


def _given_up(change: WriteTransaction, release_id: int, to: int) -> list[StoredRelease]:
    """Return the releases that a rollback abandons. Raises InvalidRequest, with Apollo's reasons,
    if there is nothing to go back to."""
    db = change.db
    release = releases.by_id(db, release_id)
    at = release.address
    if branches.of_address(db, at) is not None:
        raise InvalidRequest(
            f"The release {release_id} is a gray one: publish the branch again, or delete it."
        )
    if release_id == to:
        raise InvalidRequest("current release equal to target release")
    target = releases.by_id(db, to) if to else None
    if release.is_abandoned or (target and target.is_abandoned):
        raise InvalidRequest("release is not active")
    if target is None:
        if len(releases.page(db, at, 0, 2, active=True)) < 2:
            raise InvalidRequest(
                f"Can't rollback namespace(appId={at.app_id}, clusterName={at.cluster}, "
                f"namespaceName={at.namespace}) because there is only one active release"
            )
        return [release]
    if target.address != at or target.id > release_id:
        raise InvalidRequest(f"The release {to} is not an earlier one of {at}.")
    return releases.between(db, at, target.id, release_id)
