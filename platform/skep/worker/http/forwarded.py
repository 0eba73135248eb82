"""What a trusted proxy reports about its client: the address, the scheme, and the path prefix that
the proxy has removed.

The protocol classes remove these headers when the peer is not trusted (`protocol.py`), so a header
that arrives here was sent by a trusted proxy.
"""

import re
import socket
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from skep.config.options.row import PREFIX

if TYPE_CHECKING:
    import asyncio

    from starlette.types import ASGIApp, Receive, Scope, Send

EVERY, UNIX = "*", "unix"
_FOR, _PROTO, _PREFIX = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-prefix"
_READ = frozenset((_FOR, _PROTO, _PREFIX))
_SCHEMES = {
    "http": {"http": "http", "https": "https", "ws": "http", "wss": "https"},
    "websocket": {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"},
}
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):([0-9]{1,5})")
_IPV6_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
_CACHED = 4096

Client = tuple[str, int]


class Proxies:
    """The peers whose headers count: addresses and networks, `unix` for every peer on a unix
    socket, `*` for every peer there is."""

    def __init__(self, names: Sequence[str]) -> None:
        self._every = EVERY in names
        self._unix = self._every or UNIX in names
        self._networks = [ip_network(name) for name in names if name not in (EVERY, UNIX)]
        self._is_listed = lru_cache(_CACHED)(self._look_up)

    def trusts(self, transport: "asyncio.BaseTransport") -> bool:
        """Whether the peer of a connection is a trusted proxy.

        A TCP peer that has reset its connection has no address left; it is not trusted, and must
        not be mistaken for a peer on a unix socket.
        """
        if self._every:
            return True
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            return self._unix
        peer = transport.get_extra_info("peername")
        return bool(peer) and self._is_listed(str(peer[0]))

    def client(self, header: str) -> Client | None:
        """Return the address and the port (0 if unknown) of the client by X-Forwarded-For.

        Each proxy appends the address of its own peer. So the client is the rightmost entry that
        is not a trusted proxy: what stands to the left of it was sent by the client itself. `*`
        trusts the peer, and no entry. An entry that is not an address ends the search; the proxy
        to the right of it is the client then, and there is none if the rightmost is not an address.
        """
        found: Client | None = None
        for entry in reversed(header.split(",")):
            address = _address(entry.strip())
            if address is None:
                return found
            found = address
            if not self._is_listed(address[0]):
                return found
        return found

    def _look_up(self, host: str) -> bool:
        try:
            address = _plain(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class Forwarded:
    """Wraps an application; puts what trusted proxies report into the scope."""

    def __init__(self, app: "ASGIApp", proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> Awaitable[None]:
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _READ:
                found[name] = found[name] + b"," + value if name in found else value
        if found:
            self._apply(scope, {name: value.decode("latin-1") for name, value in found.items()})
        return self._app(scope, receive, send)

    def _apply(self, scope: "Scope", found: dict[bytes, str]) -> None:
        client = self._proxies.client(found[_FOR]) if _FOR in found else None
        if client is not None:
            scope["client"] = client
        # Of several schemes the first is what the client speaks to the outermost proxy.
        scheme = found.get(_PROTO, "").partition(",")[0].strip().lower()
        scope["scheme"] = _SCHEMES[scope["type"]].get(scheme, scope["scheme"])
        if _PREFIX in found:
            _move(scope, found[_PREFIX])


def _move(scope: "Scope", header: str) -> None:
    """Put the application below the prefixes that proxies have removed, the outermost first."""
    prefix = "".join(part.strip().rstrip("/") for part in header.split(","))
    if prefix and not PREFIX.fullmatch(prefix):
        return
    old = len(scope["root_path"])
    scope["root_path"] = prefix
    scope["path"] = prefix + scope["path"][old:]
    scope["raw_path"] = prefix.encode() + scope["raw_path"][old:]


def _plain(host: str) -> object:
    """Return the address of a text, IPv4 within IPv6 as IPv4. Raises ValueError."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _address(entry: str) -> Client | None:
    """Return address and port of one entry; None if it has no address."""
    match = _IPV4_WITH_PORT.fullmatch(entry) or _IPV6_WITH_PORT.fullmatch(entry)
    host, port = (match[1], int(match[2] or 0)) if match else (entry, 0)
    try:
        return str(_plain(host)), port
    except ValueError:
        return None
