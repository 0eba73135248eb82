"""What would be published, and publishing it."""

import time

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import fingerprint, value_changes
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.releases import StoredRelease
from skep.configserver.model.rights import Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.configserver.storage import branches
from skep.pages.refusals import PageRefused
from skep.pages.templating import moment
from skep.pages.visit import Visit

_NAME, _COMMENT = 64, 256


class ChangesPages:
    """A person publishes what the page has shown, and nothing that was saved since then."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/changes", self.changes),
            site.post(f"{NAMESPACE}/changes/reveal", self.reveal),
            site.post(f"{NAMESPACE}/publish", self.publish),
            site.post(f"{NAMESPACE}/discard", self.discard),
        ]

    async def changes(self, visit: Visit) -> Response:
        """Show what differs from the release in force."""
        return await self._page(visit, self._context.address(visit))

    async def reveal(self, visit: Visit) -> Response:
        """Show it with its secrets, which the audit log records."""
        at = self._context.address(visit)
        await self._context.record(visit, "secret.reveal", at, key="*")
        return await self._page(visit, at, reveal=True)

    async def publish(self, visit: Visit) -> Response:
        """Publish."""
        at, form = self._context.address(visit), visit.form
        name = form.line("name", most=_NAME) or _name_now()
        title = ReleaseTitle(name, form.line("comment", most=_COMMENT))
        release = await self._context.write(
            self._publish, actor_of(visit), at, title, form.text("seen")
        )
        if release is None:
            text = "Another person has saved something since you loaded the page: look once more."
            return await self._page(visit, at, status=409, notice=text)
        visit.session.say(f"{release.name} is published. Clients get it now.")
        return self._context.site.go(namespace_path(at, "instances"))

    async def discard(self, visit: Visit) -> Response:
        """Put the items back to the release in force."""
        at = self._context.address(visit)
        if branches.of_address(self._context.desk.database.reader, at) is not None:
            # Its release has the values of its parent too, and they must not become its own.
            raise PageRefused(400, "The items of a branch cannot be put back: edit them.")
        await self._context.write(self._context.desk.items.revoke, actor_of(visit), at)
        visit.session.say("The items are as the release in force has them.")
        return self._context.site.go(namespace_path(at))

    def _publish(
        self, actor: Actor, at: Address, title: ReleaseTitle, seen: str
    ) -> StoredRelease | None:
        """Publish, unless the items are not those that were seen. One thread makes all writes, so
        nothing is saved in between."""
        if fingerprint(values(self._context.view.items(actor, at))) != seen:
            return None
        return self._context.desk.publisher.publish(actor, at, title)

    async def _page(
        self,
        visit: Visit,
        at: Address,
        *,
        reveal: bool = False,
        status: int = 200,
        notice: str = "",
    ) -> Response:
        actor = actor_of(visit)
        edited = values(self._context.view.items(actor, at))
        released = self._context.published(actor, at)
        return self._context.namespace_page(
            visit,
            at,
            "changes.html",
            "Changes",
            status=status,
            faults=await self._context.faults(actor, at),
            changes=value_changes(at.namespace, released, edited, reveal=reveal),
            seen=fingerprint(edited),
            name=_name_now(),
            notice=notice,
            is_first=self._context.view.latest_release(actor, at) is None,
        )


def _name_now() -> str:
    return f"release {moment(time.time_ns() // 1_000_000)[:16]}"
