"""Publishes that wait for a second person or for their time."""

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import value_changes
from skep.configserver.model.items import values
from skep.configserver.model.publish_requests import RequestState, digest_of
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.pages.templating import moment
from skep.pages.visit import Visit


class RequestPages:
    """A second person approves what the page shows: a request is for the items that it names."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/requests", self.requests),
            site.post(f"{NAMESPACE}/requests/approve", self.approve),
            site.post(f"{NAMESPACE}/requests/withdraw", self.withdraw),
        ]

    async def requests(self, visit: Visit) -> Response:
        """Show the open request with its differences, and what became of the others."""
        at, actor = self._context.address(visit), actor_of(visit)
        found = self._context.desk.requests.of_namespace(actor, at)
        waiting = self._context.open_request(actor, at)
        edited = values(self._context.view.items(actor, at))
        return self._context.namespace_page(
            visit,
            at,
            "requests.html",
            "Requests",
            waiting=waiting,
            is_mine=waiting is not None and waiting.requester == actor.identity,
            is_stale=waiting is not None and waiting.digest != digest_of(edited),
            approval=self._context.desk.policies.policy(actor, at).approval,
            changes=value_changes(at.namespace, self._context.published(actor, at), edited),
            settled=[one for one in found if one.state != RequestState.OPEN],
        )

    async def approve(self, visit: Visit) -> Response:
        """Approve a request, which publishes it unless it has a time to wait for."""
        at = self._context.address(visit)
        done = await self._context.write(
            self._context.desk.requests.approve, actor_of(visit), visit.form.number("id")
        )
        if done.state == RequestState.OPEN:
            visit.session.say(f"{done.title} is approved. It is published {moment(done.due_at)}.")
            return self._context.site.go(namespace_path(at, "requests"))
        visit.session.say(f"{done.title} is published. Clients get it now.")
        return self._context.site.go(namespace_path(at, "instances"))

    async def withdraw(self, visit: Visit) -> Response:
        """End a request."""
        at = self._context.address(visit)
        await self._context.write(
            self._context.desk.requests.withdraw, actor_of(visit), visit.form.number("id")
        )
        visit.session.say("The request is withdrawn. Nothing is published.")
        return self._context.site.go(namespace_path(at, "requests"))
