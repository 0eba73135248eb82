"""Access keys of an app, tokens of scripts, and accounts of people."""

import time

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.model.access_keys import KeyMode
from skep.configserver.model.names import Address
from skep.configserver.model.rights import EVERY_APP, AccessRole, parse_role
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.paths import HOME, PREFIX, app_crumbs, app_path
from skep.pages.refusals import PageRefused
from skep.pages.site import Link
from skep.pages.visit import Visit

TOKENS = f"{PREFIX}/tokens"
_DAY = 86_400_000
_KEYS = "/apps/{app}/keys"


class AccessPages:
    """Administrators alone get in."""

    def __init__(self, context: PortalContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get(_KEYS, self.keys),
            site.post(_KEYS, self.create_key),
            site.post(f"{_KEYS}/reveal", self.reveal_key),
            site.post(f"{_KEYS}/set", self.set_key),
            site.get("/tokens", self.tokens),
            site.post("/tokens", self.create_token),
            site.post("/tokens/revoke", self.revoke_token),
        ]

    async def keys(self, visit: Visit) -> Response:
        """Show the access keys of an app, without their secrets."""
        return self._keys(visit)

    async def create_key(self, visit: Visit) -> Response:
        """Make an access key that is not enabled yet, so that clients can get it first."""
        mode = KeyMode.OBSERVER if visit.form.flag("observe") else KeyMode.FILTER
        made = await self._context.write(
            self._context.desk.access.create_key,
            actor_of(visit),
            visit.path("app"),
            mode=mode,
            enabled=visit.form.flag("enabled"),
        )
        return self._keys(visit, made.id)

    async def reveal_key(self, visit: Visit) -> Response:
        """Show the secret of one key, which the audit log records."""
        number, app_id = visit.form.number("id"), visit.path("app")
        self._context.view.keys(actor_of(visit), app_id)
        await self._context.record(visit, "key.reveal", Address(app_id, "", ""), key=number)
        return self._keys(visit, number)

    async def set_key(self, visit: Visit) -> Response:
        """Enable, disable or delete a key."""
        actor, app_id, form = actor_of(visit), visit.path("app"), visit.form
        number, act, access = form.number("id"), form.text("act"), self._context.desk.access
        if act == "enable":
            await self._context.write(access.enable_key, actor, app_id, number, KeyMode.FILTER)
        elif act == "observe":
            await self._context.write(access.enable_key, actor, app_id, number, KeyMode.OBSERVER)
        elif act == "disable":
            await self._context.write(access.disable_key, actor, app_id, number)
        elif act == "delete":
            await self._context.write(access.delete_key, actor, app_id, number)
        else:
            raise PageRefused(400, "The form is damaged: load the page again.")
        visit.session.say(f"The access key {number} is changed.")
        return self._context.site.go(app_path(app_id, "keys"))

    async def tokens(self, visit: Visit) -> Response:
        """Show the tokens, without their texts."""
        return self._tokens(visit)

    async def create_token(self, visit: Visit) -> Response:
        """Make a token and show it once."""
        form = visit.form
        days = form.number("days", 0)
        if days > 36_500:
            raise PageRefused(400, "A token lives for 36500 days at most, or for ever.")
        expires = time.time_ns() // 1_000_000 + days * _DAY if days else 0
        grants = {form.line("app") or EVERY_APP: parse_role(form.text("role"))}
        name = form.line("name")
        made = await self._context.write(
            self._context.desk.access.create_token, actor_of(visit), name, grants, expires
        )
        return self._tokens(visit, name, made)

    async def revoke_token(self, visit: Visit) -> Response:
        """Revoke a token."""
        name = visit.form.text("name")
        await self._context.write(self._context.desk.access.revoke_token, actor_of(visit), name)
        visit.session.say(f"The token {name} is revoked.")
        return self._context.site.go(TOKENS)

    def _keys(self, visit: Visit, revealed: int = 0) -> Response:
        actor, app_id = actor_of(visit), visit.path("app")
        self._context.view.app(actor, app_id)
        return self._context.site.page(
            visit,
            "keys.html",
            "Access keys",
            app_crumbs(app_id),
            path=app_path(app_id, "keys"),
            keys=self._context.view.keys(actor, app_id),
            revealed=revealed,
        )

    def _tokens(self, visit: Visit, name: str = "", text: str = "") -> Response:
        actor = actor_of(visit)
        return self._context.site.page(
            visit,
            "tokens.html",
            "Tokens",
            [Link("Apps", HOME)],
            tokens=self._context.view.tokens(actor),
            roles=[role.name.lower() for role in AccessRole if role < AccessRole.ADMIN],
            made=name,
            text=text,
            now=time.time_ns() // 1_000_000,
        )
