"""The rules that a publish of a namespace must follow."""

from starlette.responses import Response
from starlette.routing import Route

from skep.base.errors import ConfigError
from skep.configserver.model.names import file_format
from skep.configserver.model.publish_policy import PublishPolicy
from skep.configserver.model.refusals import RoleMissing
from skep.configserver.model.rights import AccessRole
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.items import NAMESPACE
from skep.configserver.portal.paths import namespace_path
from skep.pages.visit import Visit


class RulePages:
    """Administrators of an app set the rules; people who may read it see them."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(f"{NAMESPACE}/rules", self.rules),
            site.post(f"{NAMESPACE}/rules", self.set_rules),
        ]

    async def rules(self, visit: Visit) -> Response:
        """Show the rules."""
        at = self._context.address(visit)
        policy = self._context.desk.policies.policy(actor_of(visit), at)
        return self._page(visit, policy)

    async def set_rules(self, visit: Visit) -> Response:
        """Replace the rules; show what was sent once more if the namespace cannot have them."""
        at, form = self._context.address(visit), visit.form
        lines = (line.strip() for line in form.text("required").split("\n"))
        required = tuple(dict.fromkeys(filter(None, lines)))
        policy = PublishPolicy(form.text("schema").strip(), required, form.flag("approval"))
        try:
            await self._context.write(self._context.desk.policies.set, actor_of(visit), at, policy)
        except RoleMissing:
            raise
        except ConfigError as error:
            return self._page(visit, policy, status=400, error=str(error))
        visit.session.say("The rules are saved. They count from the next publish on.")
        return self._context.site.go(namespace_path(at, "rules"))

    def _page(
        self, visit: Visit, policy: PublishPolicy, *, status: int = 200, error: str = ""
    ) -> Response:
        at = self._context.address(visit)
        return self._context.namespace_page(
            visit,
            at,
            "rules.html",
            "Rules",
            status=status,
            policy=policy,
            error=error,
            format=file_format(at.namespace),
            may_set=actor_of(visit).role(at.app_id) >= AccessRole.ADMIN,
        )
