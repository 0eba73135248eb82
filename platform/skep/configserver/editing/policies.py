"""The rules of namespaces, and which of them their items break."""

import sqlite3
from collections.abc import Mapping, Sequence

from skep.configserver.model.branches import overlaid
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.publish_policy import (
    PublishPolicy,
    ReleaseFault,
    faults,
    refuse_faulty,
)
from skep.configserver.model.refusals import ApprovalMissing, InvalidRequest
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import branches, items, namespaces, releases
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction
from skep.configserver.storage.publish_policies import policy_of, set_policy


class PolicyEditor:
    """Reads and sets what a publish must be. A branch has the rules of its namespace."""

    def __init__(self, database: ConfigDatabase) -> None:
        self._database = database

    def policy(self, actor: Actor, address: Address) -> PublishPolicy:
        """Return the rules of a namespace. Raises NotFound, and RoleMissing unless the actor may
        read the app."""
        actor.require(AccessRole.READ, address.app_id)
        _, at = namespaces.require(self._database.reader, address)
        return policy_at(self._database.reader, at)

    def set(self, actor: Actor, address: Address, policy: PublishPolicy) -> None:
        """Replace the rules of a namespace, which need not exist; they count from the next publish
        on. Raises InvalidRequest for rules that it cannot have, RoleMissing unless the actor is an
        administrator."""
        actor.require(AccessRole.ADMIN, address.app_id)
        policy.check(address.namespace)
        with self._database.changing(actor) as change:
            if branches.of_address(change.db, address) is not None:
                raise InvalidRequest(f"{address} is a branch: set the rules of its namespace.")
            namespace_id, at = namespaces.open_namespace(change, address)
            set_policy(change, namespace_id, policy)
            change.record(
                "policy.set",
                at,
                schema=bool(policy.schema),
                required=list(policy.required),
                approval=policy.approval,
            )

    def faults(self, actor: Actor, address: Address) -> Sequence[ReleaseFault]:
        """Return the rules that a publish of the items would break now. Raises NotFound, and
        RoleMissing unless the actor may read the app."""
        actor.require(AccessRole.READ, address.app_id)
        db = self._database.reader
        namespace_id, at = namespaces.require(db, address)
        found = values(items.items(db, namespace_id))
        branch = branches.of_address(db, at)
        if branch is None:
            return faults(policy_of(db, namespace_id), at.namespace, found)
        master = releases.latest(db, branch.parent)
        merged = overlaid(master.values() if master else {}, found)
        return faults(policy_of(db, branch.parent_id), at.namespace, merged)


def policy_at(db: sqlite3.Connection, address: Address) -> PublishPolicy:
    """Return the rules for an address; those of a branch are its parent's. Raises NotFound."""
    branch = branches.of_address(db, address)
    namespace_id = branch.parent_id if branch else namespaces.require(db, address)[0]
    return policy_of(db, namespace_id)


def check_approval(db: sqlite3.Connection, address: Address) -> None:
    """Raise ApprovalMissing if a publish at this address needs a second person."""
    if namespaces.find(db, address) and policy_at(db, address).approval:
        raise ApprovalMissing(
            f"A publish of {address} needs a second person: ask for it, and let another person "
            "approve the request."
        )


def check_release(
    change: WriteTransaction, namespace_id: int, address: Address, released: Mapping[str, str]
) -> None:
    """Raise ReleaseRefused if these values break a rule of the namespace."""
    refuse_faulty(policy_of(change.db, namespace_id), address.namespace, released)
