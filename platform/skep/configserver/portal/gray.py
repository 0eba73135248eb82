"""Gray releases: a branch, whom its rules reach, and what becomes of it."""

import time

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.display.value_changes import changed_keys, value_changes
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.branches import Branch, GrayRule
from skep.configserver.model.items import values
from skep.configserver.model.names import Address
from skep.configserver.model.refusals import NotFound
from skep.configserver.model.rights import Actor
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.instances import InstancePages
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.configserver.storage import instances
from skep.pages.refusals import PageRefused
from skep.pages.templating import moment
from skep.pages.visit import Visit


class GrayPages:
    """Makes a branch, sets its rules, and ends it for good or for all."""

    def __init__(self, context: PortalContext, running: InstancePages) -> None:
        self._context = context
        self._running = running

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/gray", self.gray),
            site.post(f"{NAMESPACE}/gray", self.create),
            site.post(f"{NAMESPACE}/gray/rules", self.set_rules),
            site.post(f"{NAMESPACE}/gray/merge", self.merge),
            site.post(f"{NAMESPACE}/gray/end", self.end),
        ]

    async def gray(self, visit: Visit) -> Response:
        """Show the branch of a namespace."""
        at, actor = self._context.address(visit), actor_of(visit)
        branch = self._context.view.branch(actor, at)
        if branch is None:
            return self._context.namespace_page(visit, at, "gray.html", "Gray release", branch=None)
        own = values(self._context.view.items(actor, branch.address))
        master = self._context.published(actor, at)
        running = await self._running.rows(actor, branch.address)
        return self._context.namespace_page(
            visit,
            at,
            "gray.html",
            "Gray release",
            branch=branch,
            url=namespace_path(branch.address),
            changes=value_changes(
                at.namespace, {key: master[key] for key in own if key in master}, own
            ),
            waiting=len(changed_keys(self._context.published(actor, branch.address), own)),
            rules=[*branch.rules, GrayRule(at.app_id)],
            matched=self._matched(branch, at),
            rows=running,
        )

    async def create(self, visit: Visit) -> Response:
        """Make a branch."""
        at = self._context.address(visit)
        await self._context.write(self._context.desk.branches.create, actor_of(visit), at)
        visit.session.say("The branch is made. Set its rules, edit its items, and publish it.")
        return self._back(at)

    async def set_rules(self, visit: Visit) -> Response:
        """Replace the rules."""
        at, actor, form = self._context.address(visit), actor_of(visit), visit.form
        branch = self._branch(actor, at)
        columns = [form.texts(name) for name in ("app", "ips", "labels")]
        if len({len(column) for column in columns}) != 1:
            raise PageRefused(400, "The form is damaged: load the page again.")
        rules = [
            GrayRule(app.strip(), _words(ips), _words(labels))
            for app, ips, labels in zip(*columns, strict=True)
            if app.strip() and (ips.strip() or labels.strip())
        ]
        await self._context.write(
            self._context.desk.branches.set_rules, actor, at, branch.address.cluster, rules
        )
        visit.session.say("The rules are saved.")
        return self._back(at)

    async def merge(self, visit: Visit) -> Response:
        """Give the branch to all, and end it."""
        at, actor = self._context.address(visit), actor_of(visit)
        name = self._branch(actor, at).address.cluster
        title = ReleaseTitle(
            f"gray for all {moment(time.time_ns() // 1_000_000)[:16]}",
            visit.form.line("comment", most=256),
        )
        await self._context.write(
            self._context.desk.branches.merge, actor, at, name, title, delete=True
        )
        visit.session.say("All instances get what the branch had.")
        return self._context.site.go(namespace_path(at, "instances"))

    async def end(self, visit: Visit) -> Response:
        """End the branch: its instances get the release of all others."""
        at, actor = self._context.address(visit), actor_of(visit)
        name = self._branch(actor, at).address.cluster
        await self._context.write(self._context.desk.branches.delete, actor, at, name)
        visit.session.say("The branch is ended. Its instances get the release of all others.")
        return self._back(at)

    def _branch(self, actor: Actor, at: Address) -> Branch:
        found = self._context.view.branch(actor, at)
        if found is None:
            raise NotFound(f"There is no branch of {at.namespace} any more.")
        return found

    def _matched(self, branch: Branch, at: Address) -> int:
        """Return how many of the instances known here the rules would reach by their address; what
        label a client sends is known only when it asks."""
        found = instances.of_namespace(self._context.desk.database.reader, at)
        return len({one.instance_id for one in found if branch.reaches(one.app_id, one.ip, "")})

    def _back(self, at: Address) -> Response:
        return self._context.site.go(namespace_path(at, "gray"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
