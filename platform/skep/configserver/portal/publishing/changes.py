"""What would be published, and publishing it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import fingerprint, value_changes
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.rights import Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.pages.refusals import PageRefused
from skep.pages.templating import moment
from skep.pages.visit import Visit

_P = ParamSpec("_P")
_T = TypeVar("_T")

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
            site.post(f"{NAMESPACE}/ask", self.ask),
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
        """Publish, or with a time ask for it."""
        if visit.form.line("at"):
            return await self.ask(visit)
        at, act = self._context.address(visit), self._context.desk.publisher.publish
        release = await self._context.write(
            self._if_seen, visit.form.text("seen"), act, actor_of(visit), at, _title(visit)
        )
        if release is None:
            return await self._look_again(visit, at)
        visit.session.say(f"{release.name} is published. Clients get it now.")
        return self._context.site.go(namespace_path(at, "instances"))

    async def ask(self, visit: Visit) -> Response:
        """Ask for a publish, which waits for a second person, for its time, or for both."""
        at, act = self._context.address(visit), self._context.desk.requests.ask
        seen, due_at = visit.form.text("seen"), _due_time(visit.form.line("at"))
        made = await self._context.write(
            self._if_seen, seen, act, actor_of(visit), at, _title(visit), due_at
        )
        if made is None:
            return await self._look_again(visit, at)
        visit.session.say(f"{made.title} is asked for, and waits.")
        return self._context.site.go(namespace_path(at, "requests"))

    async def discard(self, visit: Visit) -> Response:
        """Put the items back to the release in force."""
        at = self._context.address(visit)
        await self._context.write(self._context.desk.items.revoke, actor_of(visit), at)
        visit.session.say("The items are as the release in force has them.")
        return self._context.site.go(namespace_path(at))

    def _if_seen(
        self,
        seen: str,
        act: Callable[Concatenate[Actor, Address, _P], _T],
        actor: Actor,
        at: Address,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T | None:
        """Do it, unless the items are not those that were seen. One thread makes all writes, so
        nothing is saved in between."""
        if fingerprint(self._context.view.items(actor, at)) != seen:
            return None
        return act(actor, at, *args, **kwargs)

    async def _look_again(self, visit: Visit, at: Address) -> Response:
        text = "Another person has saved something since you loaded the page: look once more."
        return await self._page(visit, at, status=409, notice=text)

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
        items = self._context.view.items(actor, at)
        edited = values(items)
        released = self._context.published(actor, at)
        return self._context.namespace_page(
            visit,
            at,
            "changes.html",
            "Changes",
            status=status,
            faults=await self._context.faults(actor, at),
            changes=value_changes(at.namespace, released, edited, reveal=reveal),
            seen=fingerprint(items),
            approval=self._context.desk.policies.policy(actor, at).approval,
            waiting=self._context.open_request(actor, at),
            name=_name_now(),
            notice=notice,
            is_first=self._context.view.latest_release(actor, at) is None,
        )


def _title(visit: Visit) -> ReleaseTitle:
    name = visit.form.line("name", most=_NAME) or _name_now()
    return ReleaseTitle(name, visit.form.line("comment", most=_COMMENT))


def _due_time(text: str) -> int:
    """Return a time of a form, which is in UTC, in milliseconds since the epoch; 0 without."""
    if not text:
        return 0
    try:
        return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        raise PageRefused(
            400, f"The time {text[:40]!r} is not like 2030-01-31T18:00, in UTC."
        ) from None


def _name_now() -> str:
    return f"release {moment(time.time_ns() // 1_000_000)[:16]}"
