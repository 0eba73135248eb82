"""The pages by which a person gets in and out: sign in, first account, password, sign out."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.routing import Route

from skep.pages.accounts import Account, check_name, check_password
from skep.pages.lockout import Lockout
from skep.pages.passwords import Passwords
from skep.pages.refusals import PageRefused
from skep.pages.site import PageSite
from skep.pages.visit import Visit

_LONGEST = 1000
# Failures in a row: of a name from one address, of an address with any names, of a name from any
# addresses. The first is the strict one, and leaves the person at another address alone; the last
# is for a guesser with many addresses.
_AT_ADDRESS, _OF_ADDRESS, _OF_NAME = 5, 30, 100
_ADMIN = {"*": "admin"}

Recorder = Callable[[Visit, str, str], Awaitable[None]]


class SignInPages:
    """Who has the `setup` text may make the first account: it lies in a file, named `setup_file`,
    that only the owner of the platform can read. `record` writes what happens into an audit log: a
    visit, an action, the name of an account."""

    def __init__(self, site: PageSite, setup: str, setup_file: str, record: Recorder) -> None:
        self._site = site
        self._setup = setup.encode()
        self._setup_file = setup_file
        self._record = record
        self.passwords = Passwords()
        self._names_at = Lockout(_AT_ADDRESS)
        self._names = Lockout(_OF_NAME)
        self._addresses = Lockout(_OF_ADDRESS)

    def routes(self) -> list[Route]:
        """Return the routes."""
        site = self._site
        return [
            site.get("/sign-in", self.sign_in, public=True),
            site.post("/sign-in", self.signed_in, public=True),
            site.get("/first-account", self.first, public=True),
            site.post("/first-account", self.make_first, public=True),
            site.post("/sign-out", self.sign_out),
            site.get("/password", self.password),
            site.post("/password", self.change_password),
        ]

    async def sign_in(self, visit: Visit) -> Response:
        """Show the form."""
        if not self._site.accounts.any():
            return self._site.go(f"{self._site.prefix}/first-account")
        return self._form(visit)

    async def signed_in(self, visit: Visit) -> Response:
        """Check name and password; count failures."""
        name = visit.form.line("name", most=_LONGEST)
        password = visit.form.text("password", most=_LONGEST)
        keys = self._keys(visit, name)
        self._check_lock(keys)
        account = self._site.accounts.named(name)
        known = self._site.accounts.password_hash(account.id) if account else None
        fits = await self.passwords.matches(known, password)
        # Guesses that were sent together wait in a line: the lock may have closed since then.
        self._check_lock(keys)
        if account is None or not fits or account.disabled_at:
            for lock, key in keys:
                lock.failed(key)
            await self._record(visit, "session.refuse", name[:64])
            return self._form(visit, name, "This name and this password do not belong together.")
        for lock, key in keys:
            lock.succeeded(key)
        visit.account = account
        await self._record(visit, "session.begin", account.name)
        visit.session = self._site.sessions.begin(account)
        return self._site.go(self._target(visit))

    async def first(self, visit: Visit) -> Response:
        """Show the form for the first account."""
        if self._site.accounts.any():
            return self._site.go(f"{self._site.prefix}/sign-in")
        return self._first(visit)

    async def make_first(self, visit: Visit) -> Response:
        """Make the first account and sign it in."""
        keys = [(self._addresses, visit.origin)]
        self._check_lock(keys)
        name, password = visit.form.line("name"), visit.form.text("password", most=_LONGEST)
        if not hmac.compare_digest(visit.form.line("setup").encode(), self._setup):
            self._addresses.failed(visit.origin)
            return self._first(visit, name, f"That is not the text in {self._setup_file}.")
        try:
            _check_new(visit, name, password)
        except PageRefused as refusal:
            return self._first(visit, name, str(refusal))
        hashed = await self.passwords.hashed(password)
        account = self._site.accounts.create_first(name, hashed, _ADMIN)
        visit.account = account
        await self._record(visit, "account.create", name)
        return self._welcome(visit, account)

    async def sign_out(self, visit: Visit) -> Response:
        """End the session."""
        await self._record(visit, "session.end", visit.name)
        visit.session = self._site.sessions.end(visit.session)
        visit.session.say("You are signed out.")
        return self._site.go(f"{self._site.prefix}/sign-in")

    async def password(self, visit: Visit) -> Response:
        """Show the form for another password."""
        return self._password(visit)

    async def change_password(self, visit: Visit) -> Response:
        """Change the password; the other sessions of the account end."""
        account = visit.account
        assert account is not None, "the page is not public"
        keys = self._keys(visit, account.name)
        self._check_lock(keys)
        known = self._site.accounts.password_hash(account.id)
        if not await self.passwords.matches(known, visit.form.text("old", most=_LONGEST)):
            for lock, key in keys:
                lock.failed(key)
            return self._password(visit, "That is not your password.")
        password = visit.form.text("password", most=_LONGEST)
        try:
            _check_new(visit, account.name, password)
        except PageRefused as refusal:
            return self._password(visit, str(refusal))
        self._site.accounts.set_password(account.id, await self.passwords.hashed(password))
        await self._record(visit, "account.password", account.name)
        changed = self._site.accounts.by_id(account.id)
        assert changed is not None, "no account is ever deleted"
        return self._welcome(visit, changed, "Your password is changed.")

    def _welcome(self, visit: Visit, account: Account, sentence: str = "") -> Response:
        visit.session = self._site.sessions.begin(account)
        if sentence:
            visit.session.say(sentence)
        return self._site.go(f"{self._site.prefix}/")

    def _keys(self, visit: Visit, name: str) -> list[tuple[Lockout, str]]:
        key = name.lower()
        return [
            (self._names_at, f"{visit.origin} {key}"),
            (self._names, key),
            (self._addresses, visit.origin),
        ]

    def _check_lock(self, keys: list[tuple[Lockout, str]]) -> None:
        seconds = max(lock.seconds(key) for lock, key in keys)
        if seconds:
            raise PageRefused(
                429, f"There were too many failures. Wait for {seconds} s, then try again."
            )

    def _target(self, visit: Visit) -> str:
        wanted = visit.form.text("next")
        # A page of ours and nothing else: `//host` and `https:` would lead to other sites.
        home = f"{self._site.prefix}/"
        own = wanted.startswith(home)
        return wanted if own and wanted.isprintable() and "\\" not in wanted else home

    def _form(self, visit: Visit, name: str = "", error: str = "") -> Response:
        target = visit.form.text("next") or visit.query("next")
        return self._site.page(
            visit,
            "sign_in.html",
            "Sign in",
            status=401 if error else 200,
            name=name,
            target=target,
            error=error,
        )

    def _first(self, visit: Visit, name: str = "", error: str = "") -> Response:
        return self._site.page(
            visit,
            "first_account.html",
            "Make the first account",
            status=400 if error else 200,
            name=name,
            file=self._setup_file,
            error=error,
        )

    def _password(self, visit: Visit, error: str = "") -> Response:
        return self._site.page(
            visit,
            "password.html",
            "Change your password",
            status=400 if error else 200,
            error=error,
        )


def _check_new(visit: Visit, name: str, password: str) -> None:
    check_name(name)
    check_password(name, password)
    if password != visit.form.text("again"):
        raise PageRefused(400, "The two passwords differ.")
