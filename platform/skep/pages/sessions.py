"""Sessions in signed cookies."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from skep.pages.accounts import Account, Accounts

# Seconds: a day at work.
LIFETIME = 12 * 3600
_LONGEST_FLASH = 300


@dataclass(slots=True)
class PageSession:
    """One browser that has signed in, or not yet (`account_id` 0), at a time in seconds since the
    epoch. `flash` is a sentence for the next page."""

    id: str
    begun: int
    account_id: int = 0
    epoch: int = 0
    flash: str = ""
    is_changed: bool = False

    def say(self, sentence: str) -> None:
        """Show a sentence on the next page."""
        self.flash, self.is_changed = sentence[:_LONGEST_FLASH], True

    def take_flash(self) -> str:
        """Return the sentence, and forget it."""
        flash, self.flash = self.flash, ""
        self.is_changed = self.is_changed or bool(flash)
        return flash


class Sessions:
    """Reads and writes the cookie of one site, which lives below `path`."""

    def __init__(self, accounts: Accounts, path: str) -> None:
        secret = accounts.secret()
        self._accounts = accounts
        self._path = path
        self._secret = secret.encode()
        self._serializer = URLSafeTimedSerializer(secret, salt=f"skep.session {path}")
        # Browsers send cookies to all ports of a host: two servers there must not share a name.
        self._name = f"skep-{hashlib.sha256(self._secret).hexdigest()[:8]}"

    def read(self, request: Request) -> PageSession:
        """Return the session of a request, a new one if it has none that is valid."""
        try:
            found = self._serializer.loads(request.cookies.get(self._name, ""), max_age=LIFETIME)
            session = PageSession(found["i"], found["b"], found["a"], found["e"], found["f"])
        except (BadData, KeyError, TypeError):
            return _new()
        # From its beginning: the cookie is written again with each flash.
        if time.time() - session.begun > LIFETIME or self._accounts.has_ended(session.id):
            return _new()
        return session

    def account(self, session: PageSession) -> Account | None:
        """Return who has signed in, unless the session has ended, also since it was read."""
        if session.account_id and self._accounts.has_ended(session.id):
            return None
        found = self._accounts.by_id(session.account_id) if session.account_id else None
        if found is None or found.disabled_at or found.epoch != session.epoch:
            return None
        return found

    def begin(self, account: Account) -> PageSession:
        """Return a new session of an account."""
        made = _new()
        made.account_id, made.epoch, made.is_changed = account.id, account.epoch, True
        return made

    def end(self, session: PageSession) -> PageSession:
        """End a session for good; return the one that follows it."""
        self._accounts.end_session(session.id, round(time.time()) + LIFETIME)
        following = _new()
        following.is_changed = True
        return following

    def write(self, request: Request, response: Response, session: PageSession) -> None:
        """Set the cookie."""
        content = {
            "i": session.id,
            "b": session.begun,
            "a": session.account_id,
            "e": session.epoch,
            "f": session.flash,
        }
        response.set_cookie(
            self._name,
            self._serializer.dumps(content),
            max_age=LIFETIME,
            path=self._path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )

    def csrf(self, session: PageSession) -> str:
        """Return the token that forms must carry. It is the same for all sessions of an account, so
        that a form which was open when the session expired can be sent after the next sign-in."""
        owner = f"{session.account_id}:{session.epoch}" if session.account_id else session.id
        return hmac.new(self._secret, f"csrf {owner}".encode(), hashlib.sha256).hexdigest()[:32]


def _new() -> PageSession:
    return PageSession(secrets.token_urlsafe(16), round(time.time()))
