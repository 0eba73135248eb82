"""Releases of a namespace: what became of them, any two compared, and the way back."""

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import saved_changes, value_changes
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import InvalidRequest, NotFound
from skep.configserver.model.releases import StoredRelease
from skep.configserver.model.rights import Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.pages.visit import Visit

_PAGE = 20
_WORDS = {
    "NORMAL": "published",
    "ROLLBACK": "rolled back",
    "GRAY": "gray release",
    "RULES": "rules of the gray release changed",
    "MERGE_TO_MASTER": "gray release given to all",
    "MASTER_TO_GRAY": "release carried into the gray release",
    "ROLLBACK_TO_GRAY": "rollback carried into the gray release",
    "ABANDON_GRAY": "gray release ended",
    "DELETE_AFTER_MERGE": "branch deleted after it was given to all",
}


class HistoryPages:
    """Reads releases, and rolls back."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/history", self.history),
            site.get(f"{NAMESPACE}/saves", self.saves),
            site.get(f"{NAMESPACE}/compare", self.compare),
            site.post(f"{NAMESPACE}/compare/reveal", self.reveal),
            site.get(f"{NAMESPACE}/rollback", self.rollback),
            site.post(f"{NAMESPACE}/rollback", self.roll_back),
        ]

    async def history(self, visit: Visit) -> Response:
        """Show the releases, the newest first, and what was done with them."""
        at, actor, page = self._context.address(visit), actor_of(visit), visit.number("page", 0)
        view, first = self._context.view, page * _PAGE
        found = view.releases(actor, at, first, _PAGE + 1)
        current = view.latest_release(actor, at)
        entries = [
            {"word": _WORDS[one.operation.name], "by": one.operator, "at": one.at, "id": one.id}
            | {"release": one.release_id, "previous": one.previous_release_id}
            for one in view.history(actor, at, first, _PAGE)
        ]
        return self._context.namespace_page(
            visit,
            at,
            "history.html",
            "History",
            releases=found[:_PAGE],
            current=current,
            entries=entries,
            page=page,
            has_more=len(found) > _PAGE,
        )

    async def saves(self, visit: Visit) -> Response:
        """Show what was saved, the newest first; of one key if it is given."""
        at, page, key = self._context.address(visit), visit.number("page", 0), visit.query("key")
        found = self._context.view.commits(actor_of(visit), at, page * _PAGE, _PAGE + 1, key)
        saves = [
            {"by": one.operator, "at": one.at, "changes": saved_changes(at.namespace, one.changes)}
            for one in found[:_PAGE]
        ]
        return self._context.namespace_page(
            visit,
            at,
            "saves.html",
            "History",
            title="Saves",
            saves=saves,
            key=key,
            page=page,
            has_more=len(found) > _PAGE,
        )

    async def compare(self, visit: Visit) -> Response:
        """Show what differs between two releases."""
        return self._compare(visit, visit.number("left"), visit.number("right"))

    async def reveal(self, visit: Visit) -> Response:
        """Show it with its secrets, which the audit log records."""
        at = self._context.address(visit)
        left, right = visit.form.number("left"), visit.form.number("right")
        await self._context.record(visit, "secret.reveal", at, releases=[left, right])
        return self._compare(visit, left, right, reveal=True)

    async def rollback(self, visit: Visit) -> Response:
        """Show what going back to a release would change."""
        at, actor = self._context.address(visit), actor_of(visit)
        target = self._release(actor, at, visit.number("to"))
        current = self._current(actor, at)
        edited = values(self._context.view.items(actor, at))
        return self._context.namespace_page(
            visit,
            at,
            "rollback.html",
            "History",
            title=f"Roll back to {target.name}",
            target=target,
            current=current,
            changes=value_changes(at.namespace, current.values(), target.values()),
            edits=len(value_changes(at.namespace, current.values(), edited)),
        )

    async def roll_back(self, visit: Visit) -> Response:
        """Roll back, if the release in force is the one that the page has shown."""
        at, actor, form = self._context.address(visit), actor_of(visit), visit.form
        target = self._release(actor, at, form.number("to"))
        release = await self._context.write(
            self._roll_back, actor, at, form.number("current"), target.id, form.flag("restore")
        )
        visit.session.say(f"{release.name} is in force again. Clients get it now.")
        return self._context.site.go(namespace_path(at, "instances"))

    def _roll_back(
        self, actor: Actor, at: Address, current: int, target: int, restore: bool
    ) -> StoredRelease:
        if self._current(actor, at).id != current:
            raise InvalidRequest(
                "Nothing was rolled back: another release is in force since you loaded the page."
            )
        publisher = self._context.desk.publisher
        return publisher.roll_back(actor, current, target, restore=restore)

    def _compare(self, visit: Visit, left: int, right: int, *, reveal: bool = False) -> Response:
        at, actor = self._context.address(visit), actor_of(visit)
        old, new = (self._release(actor, at, number) for number in (left, right))
        changes = value_changes(at.namespace, old.values(), new.values(), reveal=reveal)
        return self._context.namespace_page(
            visit,
            at,
            "compare.html",
            "History",
            title=f"Compare {old.id} with {new.id}",
            old=old,
            new=new,
            changes=changes,
        )

    def _current(self, actor: Actor, at: Address) -> StoredRelease:
        found = self._context.view.latest_release(actor, at)
        if found is None:
            raise NotFound(f"No release of {at.namespace} is in force.")
        return found

    def _release(self, actor: Actor, at: Address, number: int) -> StoredRelease:
        found = self._context.view.release(actor, number)
        if found.address != at:
            raise NotFound(f"The release {number} is not one of this namespace.")
        return found
