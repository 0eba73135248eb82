"""Search over keys and values, and the audit log."""

import json

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.masked import shown
from skep.configserver.model.journal import AuditEntry
from skep.configserver.model.names import Address
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.paths import HOME, namespace_path, with_query
from skep.pages.site import Link
from skep.pages.visit import Visit

_MOST = 200
_PAGE = 50
_AROUND = 120


class SearchPages:
    """Finds things, and who changed them."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [site.get("/search", self.search), site.get("/audit", self.audit)]

    async def search(self, visit: Visit) -> Response:
        """Show the items whose key or value holds a text. A secret is found by its key alone: else
        guesses would reveal it."""
        actor, text = actor_of(visit), visit.query("q").strip()
        view = self._context.view
        found = view.search(actor, text, "") + view.search(actor, "", text) if text else []
        hits = []
        for (at, key), value in {(at, item.key): item.value for at, item in found}.items():
            visible = shown(at.namespace, key, value)
            if text.casefold() in f"{key}\n{visible}".casefold():
                url = with_query(namespace_path(at, "item"), key=key)
                hits.append({"at": at, "key": key, "value": _around(visible, text), "url": url})
        hits = hits[:_MOST]
        return self._context.site.page(
            visit, "search.html", "Search", [Link("Apps", HOME)], text=text, hits=hits, most=_MOST
        )

    async def audit(self, visit: Visit) -> Response:
        """Show who did what, the newest first."""
        actor, app_id = actor_of(visit), visit.query("app").strip()
        found = self._context.view.audit(actor, app_id, _PAGE + 1, visit.number("before", 0))
        return self._context.site.page(
            visit,
            "audit.html",
            "Audit",
            [Link("Apps", HOME)],
            app=app_id,
            entries=[_entry(one) for one in found[:_PAGE]],
            before=found[_PAGE - 1].id if len(found) > _PAGE else 0,
        )


def _entry(one: AuditEntry) -> dict[str, object]:
    where: Address = one.address
    return {
        "at": one.at,
        "actor": one.actor or "not signed in",
        "token": one.token,
        "origin": one.origin,
        "action": one.action,
        "where": " / ".join(filter(None, where)),
        "detail": json.dumps(one.detail, ensure_ascii=False) if one.detail else "",
    }


def _around(value: str, text: str) -> str:
    """Return the part of a value around what was searched."""
    where = max(0, value.casefold().find(text.casefold()) - _AROUND)
    part = value[where : where + 2 * _AROUND + len(text)]
    return ("…" if where else "") + part + ("…" if where + len(part) < len(value) else "")
