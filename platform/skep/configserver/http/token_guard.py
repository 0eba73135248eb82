"""Who makes a request: its token, or for what is published, its signature."""

import hmac
import time
from dataclasses import replace

from starlette.requests import Request

from skep.configserver.http import requests
from skep.configserver.model.names import fold
from skep.configserver.model.refusals import TokenRefused
from skep.configserver.model.rights import EVERY_APP, AccessRole, Actor
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.storage import access
from skep.configserver.storage.database import ConfigDatabase

ROOT = "configserver/token"


class TokenGuard:
    """Turns the header `Authorization: <token>` into an actor. The token in the server's file is
    the administrator's, the others lie in the database."""

    def __init__(self, database: ConfigDatabase, root: str, gate: AccessGate) -> None:
        self._database = database
        self._root = root.encode()
        self._gate = gate

    def actor(self, request: Request, name: str = "") -> Actor:
        """Return who makes a request, by the name that the request gives, or its token's. Raises
        TokenRefused."""
        found = self._known(request)
        return replace(found, name=name or found.token)

    def reader(self, request: Request, app_id: str) -> tuple[Actor, bool]:
        """Return who reads an app, and whether by a token; without one the request must read what
        is published as a client of the app may. Raises TokenRefused, and SignatureRefused."""
        try:
            return self.actor(request), True
        except TokenRefused:
            if not request.headers.get("authorization", "Apollo ").startswith("Apollo "):
                raise
            self._gate.check(requests.app_id(app_id), requests.signed(request))
            grants = {fold(app_id): AccessRole.READ}
            return Actor("client", origin=_origin(request), grants=grants), False

    def _known(self, request: Request) -> Actor:
        given = request.headers.get("authorization", "")
        origin = _origin(request)
        if hmac.compare_digest(given.encode(), self._root):
            return Actor("", ROOT, origin, {EVERY_APP: AccessRole.ADMIN})
        token = access.token_by_text(self._database.reader, given) if given else None
        if token is None:
            raise TokenRefused(
                "This needs the header `Authorization: <token>`. The administrator's token lies in "
                f"the file `{ROOT}` of the platform's data directory."
            )
        if token.revoked_at:
            raise TokenRefused(f"The token {token.name!r} is revoked: ask for another.")
        if token.expires_at and token.expires_at <= time.time() * 1000:
            raise TokenRefused(f"The token {token.name!r} has expired: ask for another.")
        return Actor("", token.name, origin, token.grants)


def _origin(request: Request) -> str:
    return request.client.host if request.client else ""
