"""The accounts of people."""

from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.model.names import is_legal
from skep.configserver.model.rights import EVERY_APP, AccessRole
from skep.configserver.portal.context import PortalContext, actor_of
from skep.configserver.portal.paths import HOME, PREFIX
from skep.pages.accounts import Account, check_name, check_password
from skep.pages.passwords import Passwords
from skep.pages.refusals import PageRefused
from skep.pages.site import Link
from skep.pages.visit import Visit

_PEOPLE = f"{PREFIX}/accounts"
ROLES = [role.name.lower() for role in AccessRole]


class PeoplePages:
    """Makes accounts and changes what they may do; administrators of every app alone get in."""

    def __init__(self, context: PortalContext, passwords: Passwords) -> None:
        self._context = context
        self._accounts = context.site.accounts
        self._passwords = passwords

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._context.site
        return [
            site.get("/accounts", self.people),
            site.post("/accounts", self.create),
            site.post("/accounts/roles", self.set_roles),
            site.post("/accounts/password", self.set_password),
            site.post("/accounts/enable", self.set_enabled),
        ]

    async def people(self, visit: Visit) -> Response:
        """Show the accounts."""
        _require_admin(visit)
        return self._context.site.page(
            visit,
            "people.html",
            "Accounts",
            [Link("Apps", HOME)],
            people=self._accounts.all(),
            roles=ROLES,
        )

    async def create(self, visit: Visit) -> Response:
        """Make an account with a first password, which the person should change."""
        _require_admin(visit)
        name, password = visit.form.line("name"), visit.form.text("password")
        check_name(name)
        check_password(name, password)
        roles = parse_roles(visit.form.text("roles"))
        hashed = await self._passwords.hashed(password)
        self._accounts.create(name, hashed, roles, visit.name)
        await self._context.record(visit, "account.create", account=name, roles=roles)
        return self._done(visit, f"The account {name} is made.")

    async def set_roles(self, visit: Visit) -> Response:
        """Change what an account may do."""
        account, roles = self._other(visit), parse_roles(visit.form.text("roles"))
        self._accounts.set_roles(account.id, roles)
        await self._context.record(visit, "account.roles", account=account.name, roles=roles)
        return self._done(visit, f"{account.name} has other roles, and must sign in again.")

    async def set_password(self, visit: Visit) -> Response:
        """Set the password of an account whose person has lost it."""
        account, password = self._other(visit), visit.form.text("password")
        check_password(account.name, password)
        self._accounts.set_password(account.id, await self._passwords.hashed(password))
        await self._context.record(visit, "account.password", account=account.name)
        return self._done(visit, f"{account.name} has another password.")

    async def set_enabled(self, visit: Visit) -> Response:
        """Enable or disable an account."""
        account, enabled = self._other(visit), visit.form.flag("enabled")
        self._accounts.set_enabled(account.id, enabled=enabled)
        word = "enable" if enabled else "disable"
        await self._context.record(visit, f"account.{word}", account=account.name)
        return self._done(visit, f"The account {account.name} is {word}d.")

    def _other(self, visit: Visit) -> Account:
        """Return the account of the form, which is not the visitor's own: so one administrator
        always remains."""
        _require_admin(visit)
        found = self._accounts.named(visit.form.text("name"))
        if found is None:
            raise PageRefused(404, f"There is no account {visit.form.text('name')[:64]!r}.")
        if visit.account is not None and found.id == visit.account.id:
            raise PageRefused(400, "Another administrator must change your own account.")
        return found

    def _done(self, visit: Visit, sentence: str) -> Response:
        visit.session.say(sentence)
        return self._context.site.go(_PEOPLE)


def parse_roles(text: str) -> dict[str, str]:
    """Return the roles in `edit shop, read *`. Raises PageRefused for another text."""
    roles = {}
    for part in filter(None, (part.strip() for part in text.replace("\n", ",").split(","))):
        role, _, app = part.partition(" ")
        app = app.strip() or EVERY_APP
        if role not in ROLES or not (app == EVERY_APP or is_legal(app)):
            raise PageRefused(
                400, f"{part[:100]!r} is not a role and an app, as in `edit shop` or `read *`."
            )
        roles[app] = role
    if not roles:
        raise PageRefused(400, "An account needs a role.")
    return roles


def _require_admin(visit: Visit) -> None:
    actor_of(visit).require(AccessRole.ADMIN, EVERY_APP)
