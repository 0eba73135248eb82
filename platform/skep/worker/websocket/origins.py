"""Which web pages may open a WebSocket here.

A browser lets any page open a WebSocket to any server, with the user's cookies for that server; a
page can read no other request without the server's consent. The browser reports in `Origin` where
the page is from.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_PORTS = {"http": 80, "https": 443}


class OriginCheck:
    """Wraps the application that WebSockets reach; pages of other sites get 403.

    `origins` are allowed beside the site itself, as `https://shop.example`; `*` is every page.
    """

    def __init__(self, app: "ASGIApp", origins: Sequence[str]) -> None:
        self._app = app
        self._every = "*" in origins
        self._origins = frozenset(map(_canonical, origins))

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        # No program but a browser sends one. A header of a proxy's is here only if it is trusted.
        host = headers.get(b"x-forwarded-host") or headers.get(b"host", b"")
        if not origin or self._every or self._is_allowed(origin, host.decode("latin-1")):
            await self._app(scope, receive, send)
            return
        text = f"Pages of {origin[:200]} may not open WebSockets here: see "
        refusal = PlainTextResponse(f"{text}PLATFORM_WEBSOCKET_ORIGINS.\n", status_code=403)
        await WebSocket(scope, receive, send).send_denial_response(refusal)

    def _is_allowed(self, origin: str, host: str) -> bool:
        canonical = _canonical(origin)
        scheme = canonical.partition(":")[0]
        # The scheme is the page's: a proxy that speaks TLS may not have said so.
        return canonical in self._origins or canonical == _canonical(f"{scheme}://{host}")


def _canonical(origin: str) -> str:
    """Return an origin with its port, in lower case; other text stays as it is."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return origin.lower()
    return f"{parts.scheme}://{parts.hostname}:{port}"
