"""A namespace as a table, and the form of one item."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route

from skep.base.errors import ConfigError
from skep.configserver.display.masked import is_masked, shown, unmasked
from skep.configserver.display.text_form import is_file
from skep.configserver.display.value_changes import changed_keys
from skep.configserver.model.items import Draft, Item
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import EditConflict, NotFound, RoleMissing
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.paths import namespace_path
from skep.configserver.portal.refusals import explained
from skep.pages.refusals import PageRefused
from skep.pages.site import PageSite
from skep.pages.visit import Visit

NAMESPACE = "/apps/{app}/{cluster}/{namespace}"
_COMMENT = 1024


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row of the table; `state` is empty, or what publishing would do to the key."""

    key: str
    value: str
    is_masked: bool
    state: str
    item: Item | None


class ItemPages:
    """Edits items one by one."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context
        self._site: PageSite = context.site

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._site
        return [
            site.get(NAMESPACE, self.table),
            site.post(f"{NAMESPACE}/reveal", self.reveal),
            site.get(f"{NAMESPACE}/item", self.item),
            site.post(f"{NAMESPACE}/item", self.save),
            site.post(f"{NAMESPACE}/item/reveal", self.reveal_item),
            site.post(f"{NAMESPACE}/item/delete", self.delete),
        ]

    async def table(self, visit: Visit) -> Response:
        """Show the items; a namespace that is one text as such."""
        at = self._context.address(visit)
        if is_file(at.namespace):
            return self._site.go(namespace_path(at, "text"))
        return await self._table(visit, at)

    async def reveal(self, visit: Visit) -> Response:
        """Show the table with the value of one key, which the audit log records."""
        at, key = self._context.address(visit), visit.form.text("key")
        self._context.view.item(actor_of(visit), at, key)
        await self._context.record(visit, "secret.reveal", at, key=key)
        return await self._table(visit, at, {key})

    async def item(self, visit: Visit) -> Response:
        """Show the form of one item, or of a new one."""
        at = self._context.address(visit)
        if is_file(at.namespace):
            return self._site.go(namespace_path(at, "text"))
        return self._form(visit, at, visit.query("key"))

    async def reveal_item(self, visit: Visit) -> Response:
        """Show the form of one item with its value, which the audit log records."""
        at, key = self._context.address(visit), visit.form.text("key")
        self._context.view.item(actor_of(visit), at, key)
        await self._context.record(visit, "secret.reveal", at, key=key)
        return self._form(visit, at, key, reveal=True)

    async def save(self, visit: Visit) -> Response:
        """Save one item; show both values if another person was faster."""
        at, form, actor = self._context.address(visit), visit.form, actor_of(visit)
        comment, base = form.text("comment", most=_COMMENT), form.number("base", 0)
        # A script may have made a key with blanks around it.
        key = form.text("key") if base else form.line("key")
        given = form.text("value")
        old = self._known(visit, at, key)
        try:
            if not key:
                raise PageRefused(400, "An item needs a key.")
            value = unmasked(at.namespace, key, given, old.value if old else None)
            draft = Draft(key, value, comment, old.type if old else 0, base)
            await self._context.write(self._context.desk.items.put, actor, at, draft)
        except EditConflict as conflict:
            return self._conflict(visit, at, key, conflict, given)
        except RoleMissing:
            raise
        except (ConfigError, PageRefused, sqlite3.Error) as error:
            return self._site_form(visit, at, key, given, comment, base, explained(error))
        visit.session.say(f"{key} is saved. Clients get it when you publish.")
        return self._site.go(namespace_path(at))

    async def delete(self, visit: Visit) -> Response:
        """Delete one item; show what it is now if another person has changed it."""
        at, key = self._context.address(visit), visit.form.text("key")
        base = visit.form.number("base")
        try:
            await self._context.write(
                self._context.desk.items.delete, actor_of(visit), at, key, base
            )
        except EditConflict as conflict:
            return self._conflict(visit, at, key, conflict, None)
        visit.session.say(f"{key} is deleted. Clients lose it when you publish.")
        return self._site.go(namespace_path(at))

    def _known(self, visit: Visit, at: Address, key: str) -> Item | None:
        try:
            return self._context.view.item(actor_of(visit), at, key)
        except NotFound:
            return None

    async def _table(self, visit: Visit, at: Address, revealed: Collection[str] = ()) -> Response:
        actor = actor_of(visit)
        items = [item for item in self._context.view.items(actor, at) if item.key]
        released = self._context.published(actor, at)
        states = changed_keys(released, {item.key: item.value for item in items})
        rows = [_row(at.namespace, item, states.get(item.key, ""), revealed) for item in items]
        rows += [
            ItemRow(key, shown(at.namespace, key, released[key]), False, "deleted", None)
            for key, state in states.items()
            if state == "deleted"
        ]
        faults = await self._context.faults(actor, at)
        return self._context.namespace_page(
            visit, at, "items.html", "Items", rows=rows, faults=faults
        )

    def _form(self, visit: Visit, at: Address, key: str, *, reveal: bool = False) -> Response:
        item = self._known(visit, at, key) if key else None
        if item is None:
            return self._site_form(visit, at, key, "", "", 0)
        value = item.value if reveal else shown(at.namespace, key, item.value)
        return self._site_form(visit, at, key, value, item.comment, item.revision)

    def _site_form(
        self,
        visit: Visit,
        at: Address,
        key: str,
        value: str,
        comment: str,
        base: int,
        problem: tuple[int, str] = (200, ""),
    ) -> Response:
        item = self._known(visit, at, key)
        hides = item is not None and is_masked(at.namespace, key, item.value)
        return self._context.namespace_page(
            visit,
            at,
            "item.html",
            "Items",
            title=f"Edit {key}" if base else "New item",
            status=problem[0],
            key=key,
            value=value,
            comment=comment,
            base=base,
            item=item,
            is_masked=hides and item is not None and value != item.value,
            error=problem[1],
        )

    def _conflict(
        self, visit: Visit, at: Address, key: str, conflict: EditConflict, given: str | None
    ) -> Response:
        theirs = conflict.theirs
        return self._context.namespace_page(
            visit,
            at,
            "conflict.html",
            "Items",
            title=f"Two edits of {key}",
            status=409,
            key=key,
            message=str(conflict),
            yours=None if given is None else given,
            theirs=None if theirs is None else shown(at.namespace, key, theirs["value"]),
            by=theirs["modifiedBy"] if theirs else "",
            base=theirs["revision"] if theirs else 0,
            comment=visit.form.text("comment"),
        )


def _row(namespace: str, item: Item, state: str, revealed: Collection[str]) -> ItemRow:
    text = shown(namespace, item.key, item.value)
    hides = text != item.value and item.key not in revealed
    return ItemRow(item.key, text if hides else item.value, hides, state, item)
