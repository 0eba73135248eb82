"""A namespace as one text."""

import json
import sqlite3

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.base.errors import ConfigError
from skep.configserver.display.masked import shown
from skep.configserver.display.text_form import (
    fault,
    is_file,
    read_revisions,
    revisions,
    to_drafts,
    to_text,
)
from skep.configserver.model.formats import CONTENT
from skep.configserver.model.items import Draft, Item
from skep.configserver.model.names import Address, file_format
from skep.configserver.model.refusals import EditConflict, RoleMissing
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.configserver.portal.refusals import explained
from skep.pages.refusals import PageRefused
from skep.pages.visit import Visit


class TextPages:
    """Edits all items at once."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/text", self.text),
            site.post(f"{NAMESPACE}/text", self.save),
            site.post(f"{NAMESPACE}/text/reveal", self.reveal),
            site.post(f"{NAMESPACE}/text/check", self.check),
        ]

    async def text(self, visit: Visit) -> Response:
        """Show the text, its secrets masked."""
        at = self._context.address(visit)
        return self._fresh(visit, at, reveal=False)

    async def reveal(self, visit: Visit) -> Response:
        """Show the text with its secrets, which the audit log records."""
        at = self._context.address(visit)
        await self._context.record(visit, "secret.reveal", at, key="*")
        return self._fresh(visit, at, reveal=True)

    async def check(self, visit: Visit) -> Response:
        """Answer the script whether a text could be saved."""
        at = self._context.address(visit)
        found = fault(at.namespace, visit.form.text("text"), self._items(visit, at))
        what = f"This is correct {file_format(at.namespace)}."
        return JSONResponse({"ok": not found, "message": found or what})

    async def save(self, visit: Visit) -> Response:
        """Save the text; show both values of a key that another person has changed."""
        at, actor, form = self._context.address(visit), actor_of(visit), visit.form
        text, base = form.text("text"), read_revisions(form.text("base"))
        items, editor = self._items(visit, at), self._context.desk.items
        try:
            drafts = to_drafts(at.namespace, text, items)
            if is_file(at.namespace):
                (one,) = drafts
                draft = Draft(one.key, one.value, one.comment, base=base.get(CONTENT, 0))
                await self._context.write(editor.put, actor, at, draft)
            else:
                await self._context.write(editor.replace, actor, at, drafts, base)
        except EditConflict as conflict:
            return self._conflict(visit, at, text, base, conflict)
        except RoleMissing:
            raise
        except (ConfigError, PageRefused, sqlite3.Error) as error:
            status, reason = explained(error)
            return self._page(visit, at, text, base, status=status, error=reason)
        visit.session.say("The text is saved. Clients get it when you publish.")
        return self._context.site.go(namespace_path(at, "changes"))

    def _items(self, visit: Visit, at: Address) -> list[Item]:
        return self._context.view.items(actor_of(visit), at)

    def _fresh(self, visit: Visit, at: Address, *, reveal: bool) -> Response:
        items = self._items(visit, at)
        text = to_text(at.namespace, items, reveal=reveal)
        hides = text != to_text(at.namespace, items, reveal=True)
        return self._page(visit, at, text, revisions(items), hides=hides)

    def _conflict(
        self, visit: Visit, at: Address, text: str, base: dict[str, int], conflict: EditConflict
    ) -> Response:
        """Show the text that was sent once more. Saving it again means to overwrite this one key;
        another key in conflict is shown then."""
        yours, theirs = conflict.yours, conflict.theirs
        key = str((theirs or yours or {})["key"])
        fresh = {**base, key: theirs["revision"]} if theirs else base
        if not theirs:
            fresh.pop(key, None)
        sides = {
            "key": key,
            "message": str(conflict),
            "yours": None if yours is None else shown(at.namespace, key, yours["value"]),
            "theirs": None if theirs is None else shown(at.namespace, key, theirs["value"]),
        }
        return self._page(visit, at, text, fresh, status=409, conflict=sides)

    def _page(
        self,
        visit: Visit,
        at: Address,
        text: str,
        base: dict[str, int],
        *,
        status: int = 200,
        error: str = "",
        hides: bool = False,
        conflict: dict[str, str | None] | None = None,
    ) -> Response:
        return self._context.namespace_page(
            visit,
            at,
            "text.html",
            "Text",
            status=status,
            text=text,
            base=json.dumps(base),
            error=error,
            hides=hides,
            is_file=is_file(at.namespace),
            format=file_format(at.namespace),
            conflict=conflict,
        )
