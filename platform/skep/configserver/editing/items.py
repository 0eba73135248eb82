"""Editing items; clients see nothing of it until the namespace is published."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from skep.configserver.model.formats import check_content
from skep.configserver.model.items import Draft, Item, ItemChanges, restored
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import EditConflict, InvalidRequest, NotFound
from skep.configserver.model.rights import AccessRole, Actor
from skep.configserver.storage import branches, items, journal, namespaces, releases
from skep.configserver.storage.database import ConfigDatabase, WriteTransaction

WriteMode = Literal["create", "update", "either"]


class ItemEditor:
    """Writes the items of namespaces, which are made when they do not exist. Every method raises
    RoleMissing unless the actor may edit the app."""

    def __init__(self, database: ConfigDatabase, limits: EditorLimits | None = None) -> None:
        self.limits = limits or EditorLimits()
        self._database = database

    def put(self, actor: Actor, address: Address, draft: Draft, mode: WriteMode = "either") -> None:
        """Write one item.

        `create` raises InvalidRequest if the key exists, `update` NotFound if it does not; a bad
        name, too long a value, or a text that is not of the namespace's format raises
        InvalidRequest, another revision than the draft's base EditConflict.
        """
        actor.require(AccessRole.EDIT, address.app_id)
        self._check(address, draft)
        with self._database.changing(actor) as change:
            namespace_id, at = namespaces.open_namespace(change, address)
            old = items.item(change.db, namespace_id, draft.key)
            if old is not None and mode == "create":
                raise InvalidRequest(f"There is a key {draft.key!r} in {at} already.")
            if old is None and mode == "update":
                raise NotFound(f"There is no key {draft.key!r} in {at}.")
            commit_items(change, at, write_items(change, namespace_id, [draft]))

    def delete(self, actor: Actor, address: Address, key: str, base: int | None = None) -> None:
        """Delete one item. Raises NotFound, and EditConflict if its revision is not `base`."""
        actor.require(AccessRole.EDIT, address.app_id)
        with self._database.changing(actor) as change:
            found = namespaces.find(change.db, address)
            old = items.item(change.db, found[0], key) if found else None
            if found is None or old is None:
                raise NotFound(f"There is no key {key!r} in {address}.")
            _check_base(key, None, old, base)
            items.delete(change, [old])
            commit_items(change, found[1], ItemChanges(deleted=[old]))

    def save(
        self, actor: Actor, address: Address, drafts: Sequence[Draft], deleted: Sequence[str] = ()
    ) -> None:
        """Write and delete several items: all or none. Raises as `put` does, and NotFound for a key
        to delete that is not there."""
        actor.require(AccessRole.EDIT, address.app_id)
        for draft in drafts:
            self._check(address, draft)
        with self._database.changing(actor) as change:
            namespace_id, at = namespaces.open_namespace(change, address)
            gone = [_present(items.item(change.db, namespace_id, key), key, at) for key in deleted]
            changes = write_items(change, namespace_id, drafts)
            items.delete(change, gone)
            changes.deleted = gone
            commit_items(change, at, changes)

    def replace(
        self,
        actor: Actor,
        address: Address,
        drafts: Sequence[Draft],
        base: Mapping[str, int] | None = None,
    ) -> None:
        """Make these lines, comments among them, the whole namespace.

        `base` are the revisions by key that the writer has read; an item that was changed, made or
        deleted since then raises EditConflict. Of equal keys a later one raises InvalidRequest.
        """
        actor.require(AccessRole.EDIT, address.app_id)
        for draft in drafts:
            self._check(address, draft)
        with self._database.changing(actor) as change:
            namespace_id, at = namespaces.open_namespace(change, address)
            if base is not None:
                _check_bases(items.items(change.db, namespace_id), drafts, base)
            commit_items(change, at, replace_items(change, namespace_id, drafts))

    def revoke(self, actor: Actor, address: Address) -> None:
        """Discard what is not published: put the items back to the release in force. Raises
        NotFound if there is none, InvalidRequest for a branch."""
        actor.require(AccessRole.EDIT, address.app_id)
        with self._database.changing(actor) as change:
            if branches.of_address(change.db, namespaces.require(change.db, address)[1]):
                # Its release has the values of its parent too, which must not become its own.
                raise InvalidRequest("The items of a branch cannot be put back: edit them.")
            restore_items(change, address)

    def _check(self, address: Address, draft: Draft) -> None:
        self.limits.check(draft)
        check_content(address.namespace, draft.key, draft.value)


def restore_items(change: WriteTransaction, address: Address) -> None:
    """Put the items of a namespace back to its release in force. Raises NotFound if there is
    none."""
    namespace_id, at = namespaces.require(change.db, address)
    release = releases.latest(change.db, at)
    if release is None:
        raise NotFound(f"There is no release of {at} to go back to.")
    drafts = restored(items.items(change.db, namespace_id), release.values())
    commit_items(change, at, replace_items(change, namespace_id, drafts))


def replace_items(
    change: WriteTransaction, namespace_id: int, drafts: Sequence[Draft]
) -> ItemChanges:
    """Make these lines all lines of a namespace; return what that changed."""
    changes = ItemChanges()
    old = items.items(change.db, namespace_id)
    by_key = {item.key: item for item in old if item.key}
    comments = [item for item in old if not item.key]
    seen: set[str] = set()
    for line, draft in enumerate(drafts, 1):
        if draft.key and draft.key in seen:
            raise InvalidRequest(f"The key {draft.key!r} stands twice.")
        seen.add(draft.key)
        if draft.key:
            present = by_key.pop(draft.key, None)
        else:
            present = comments.pop(0) if comments else None
        _write_line(change, namespace_id, present, draft, line, changes)
    changes.deleted = [*by_key.values(), *comments]
    items.delete(change, changes.deleted)
    return changes


def write_items(
    change: WriteTransaction, namespace_id: int, drafts: Sequence[Draft]
) -> ItemChanges:
    """Write these items and keep the others; return what that changed."""
    changes = ItemChanges()
    for draft in drafts:
        old = items.item(change.db, namespace_id, draft.key)
        _check_base(draft.key, draft, old, draft.base)
        _write_line(change, namespace_id, old, draft, 0, changes)
    return changes


def _write_line(
    change: WriteTransaction,
    namespace_id: int,
    old: Item | None,
    draft: Draft,
    line: int,
    changes: ItemChanges,
) -> None:
    if old is None:
        changes.created.append(items.insert(change, namespace_id, draft, line))
    elif (old.value, old.comment, old.type) != (draft.value, draft.comment, draft.type):
        new = items.update(change, namespace_id, old, draft, line)
        changes.updated.append((old, new))
    elif line not in (0, old.line):
        items.move(change, old.id, line)


def commit_items(change: WriteTransaction, address: Address, changes: ItemChanges) -> None:
    """Write the commit, and the keys alone in the audit log."""
    if not changes:
        return
    journal.write_commit(change, address, changes)
    keys = {
        "created": [item.key for item in changes.created],
        "updated": [new.key for _, new in changes.updated],
        "deleted": [item.key for item in changes.deleted],
    }
    change.record("items.save", address, **{what: names for what, names in keys.items() if names})


def _present(item: Item | None, key: str, address: Address) -> Item:
    if item is None:
        raise NotFound(f"There is no key {key!r} in {address}.")
    return item


def _check_bases(old: Sequence[Item], drafts: Sequence[Draft], base: Mapping[str, int]) -> None:
    wanted = {draft.key: draft for draft in drafts if draft.key}
    present = {item.key: item for item in old if item.key}
    for key in {**wanted, **present}:
        _check_base(key, wanted.get(key), present.get(key), base.get(key, 0))


def _check_base(key: str, draft: Draft | None, old: Item | None, base: int | None) -> None:
    """Raise EditConflict if the item is not as the writer has read it; that it is already as the
    writer wants it is not a conflict."""
    if base is None or base == (old.revision if old else 0):
        return
    yours, theirs = _shown(draft), _shown(old)
    if (yours or {}).get("value") == (theirs or {}).get("value"):
        return
    who = f"{old.modified_by!r} changed" if old else "another person deleted"
    raise EditConflict(
        f"The key {key!r} is not as you have read it: {who} it since then. Read it again, and "
        "save what you want to keep of both.",
        yours,
        theirs,
    )


def _shown(line: Draft | Item | None) -> dict[str, Any] | None:
    if line is None:
        return None
    shown: dict[str, Any] = {"key": line.key, "value": line.value, "comment": line.comment}
    if isinstance(line, Item):
        shown |= {"revision": line.revision, "modifiedBy": line.modified_by}
    return shown
