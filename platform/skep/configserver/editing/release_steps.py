"""The steps of a release that publishing, rolling back and gray releases have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skep.configserver.editing.policies import check_release
from skep.configserver.model.branches import Branch, overlaid
from skep.configserver.model.names import Address
from skep.configserver.model.releases import ReleaseOperation, StoredRelease
from skep.configserver.storage import branches, releases
from skep.configserver.storage.database import WriteTransaction


@dataclass(frozen=True, slots=True)
class ReleaseTitle:
    """What people write on a release; `emergency` is only kept in the history."""

    name: str
    comment: str = ""
    emergency: bool = False

    def context(self, **more: Any) -> dict[str, Any]:
        """Return the context of an entry of the history."""
        return {"isEmergencyPublish": self.emergency, **more}


def release_master(
    change: WriteTransaction,
    namespace_id: int,
    address: Address,
    values: Mapping[str, str],
    title: ReleaseTitle,
    operation: ReleaseOperation = ReleaseOperation.NORMAL,
    **context: Any,
) -> StoredRelease:
    """Make these values the release in force of a namespace, and carry them into its branch."""
    previous = releases.latest(change.db, address)
    made = releases.insert(change, namespace_id, values, title.name, title.comment)
    ids = (made.id, previous.id if previous else 0)
    history = title.context(**context)
    releases.write_history(change, namespace_id, address.cluster, ids, operation, history)
    carry_into_branch(change, address, made, ReleaseOperation.MASTER_TO_GRAY)
    change.announce(address)
    change.record(
        f"release.{operation.name.lower()}", address, release=made.id, key=made.release_key
    )
    return made


def carry_into_branch(
    change: WriteTransaction, address: Address, master: StoredRelease, operation: ReleaseOperation
) -> None:
    """Release the branch of a namespace again, with what it has on top of this master."""
    branch = branches.of_parent(change.db, address)
    if branch is not None and branch.release_id is not None:
        title = ReleaseTitle(master.name, master.comment)
        _insert(change, branch, master, branch.overlay, title, operation)


def release_branch(
    change: WriteTransaction, branch: Branch, overlay: Mapping[str, str | None], title: ReleaseTitle
) -> StoredRelease:
    """Release a branch: what its master has in force, with the overlay on top. Raises
    ReleaseRefused if that breaks a rule of the namespace."""
    master = releases.latest(change.db, branch.parent)
    merged = overlaid(master.values() if master else {}, overlay)
    check_release(change, branch.parent_id, branch.parent, merged)
    made = _insert(change, branch, master, overlay, title, ReleaseOperation.GRAY)
    change.announce(branch.parent)
    change.record("release.gray", branch.parent, branch=branch.address.cluster, release=made.id)
    return made


def _insert(
    change: WriteTransaction,
    branch: Branch,
    master: StoredRelease | None,
    overlay: Mapping[str, str | None],
    title: ReleaseTitle,
    operation: ReleaseOperation,
) -> StoredRelease:
    values = overlaid(master.values() if master else {}, overlay)
    made = releases.insert(change, branch.namespace_id, values, title.name, title.comment)
    branches.set_release(change, branch, made.id, overlay)
    context = title.context(
        baseReleaseId=master.id if master else 0, branchReleaseKeys=list(overlay)
    )
    ids = (made.id, branch.release_id or 0)
    name = branch.address.cluster
    releases.write_history(change, branch.parent_id, name, ids, operation, context)
    return made
