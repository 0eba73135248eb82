"""Releasing the items of a namespace or of a branch, as its rules allow."""

from skep.configserver.editing.policies import check_release
from skep.configserver.editing.release_steps import ReleaseTitle, release_branch, release_master
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.releases import StoredRelease
from skep.configserver.storage import branches, items, namespaces
from skep.configserver.storage.database import WriteTransaction


def release_items(change: WriteTransaction, address: Address, title: ReleaseTitle) -> StoredRelease:
    """Make the items at an address its release in force. Raises ReleaseRefused if they break a rule
    of the namespace."""
    branch = branches.of_address(change.db, address)
    if branch is not None:
        return release_branch(
            change, branch, values(items.items(change.db, branch.namespace_id)), title
        )
    namespace_id, at = namespaces.open_namespace(change, address)
    found = values(items.items(change.db, namespace_id))
    check_release(change, namespace_id, at, found)
    return release_master(change, namespace_id, at, found, title)
