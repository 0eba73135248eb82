"""The names under which a port of the platform's own may be asked.

A web page can give its own name an address of loopback (DNS rebinding) and then reads, through the
browser of a user on this machine, whatever a port there answers. The browser still sends the
page's name in `Host`. So a request is answered only if it asks for a name of loopback, for the
address on which it has come in, or for a name that the operator has given.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from ipaddress import ip_address
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_FORM = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?")
# RFC 9110, 15.5.20: Misdirected Request.
_STATUS = 421


class HostCheck:
    """Wraps an ASGI application; answers requests for other names with 421.

    `names` are those that the operator has given.
    """

    def __init__(self, app: Any, names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.is_meant(scope):
            await self._app(scope, receive, send)
            return
        hosts = ", ".join(repr(host[:100]) for host in _hosts(scope)) or "nothing"
        text = f"Host is {hosts}, which this port does not serve: see PLATFORM_ALLOWED_HOSTS."
        body = json.dumps({"status": _STATUS, "message": text}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": _STATUS, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def is_meant(self, scope: Scope) -> bool:
        """Return whether a request asks for one of the names."""
        hosts = _hosts(scope)
        if not hosts:
            return bool(scope["http_version"] == "1.0")  # which knows no Host; no browser speaks it
        match = _FORM.fullmatch(hosts[0].lower())
        if len(hosts) > 1 or match is None:
            return False
        name = match[1] or match[2].removesuffix(".")
        if name == "localhost" or name in self._names:
            return True
        try:
            address = ip_address(name)
            own = address.is_loopback or address.is_unspecified
            return own or address == ip_address(scope["server"][0])
        except (ValueError, TypeError):
            return False


def _hosts(scope: Scope) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
