"""Whom a trusted proxy reports, and what a client can make of it."""

import asyncio
import socket
from typing import Any

import pytest

from skep.worker.http.forwarded import Forwarded, Proxies


@pytest.mark.parametrize(
    ("trusted", "header", "client"),
    [
        # What the client has sent itself stands to the left
        (["10.0.0.0/8"], "6.6.6.6, 192.0.2.7", ("192.0.2.7", 0)),
        (["10.0.0.0/8"], "6.6.6.6, 192.0.2.7, 10.0.0.2, 10.0.0.1", ("192.0.2.7", 0)),
        (["*"], "6.6.6.6, 192.0.2.7", ("192.0.2.7", 0)),
        (["unix"], "6.6.6.6, 192.0.2.7", ("192.0.2.7", 0)),
        (["*", "10.0.0.0/8"], "6.6.6.6, 192.0.2.7, 10.0.0.1", ("192.0.2.7", 0)),
        # All are proxies: the first is the client
        (["10.0.0.0/8"], "10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        # Ports, IPv6, IPv4 within IPv6
        (["unix"], "192.0.2.7:4711", ("192.0.2.7", 4711)),
        (["unix"], "[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        (["unix"], "2001:DB8::1", ("2001:db8::1", 0)),
        (["unix"], "::ffff:192.0.2.7", ("192.0.2.7", 0)),
        (["10.0.0.0/8"], "192.0.2.7, ::ffff:10.0.0.1", ("192.0.2.7", 0)),
        # What is no address is nobody's; the proxy that has written it is known
        (["10.0.0.0/8"], "6.6.6.6, unknown, 10.0.0.1", ("10.0.0.1", 0)),
        (["unix"], "unknown", None),
        (["unix"], "6.6.6.6, <script>", None),
        (["unix"], "", None),
        (["unix"], "192.0.2.7,", None),
        (["unix"], "192.0.2.7:99999999", None),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(
    trusted: list[str], header: str, client: tuple[str, int] | None
) -> None:
    """B8, E10: never the leftmost, which the client may write itself."""
    assert Proxies(trusted).client(header) == client


class Transport(asyncio.BaseTransport):
    def __init__(self, family: int, peer: Any) -> None:
        self._family, self._peer = family, peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return socket.socket(self._family)
        return self._peer


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("trusted", "family", "peer", "expected"),
    [
        (["unix"], socket.AF_UNIX, "", True),
        (["*"], socket.AF_UNIX, "", True),
        (["10.0.0.0/8"], socket.AF_UNIX, "", False),
        ([], socket.AF_UNIX, "", False),
        (["unix"], socket.AF_INET, ("10.0.0.1", 1), False),
        # A peer that has reset its connection has no address, and is not one on a unix socket
        (["unix", "10.0.0.0/8"], socket.AF_INET, None, False),
        (["10.0.0.0/8"], socket.AF_INET, ("10.0.0.1", 1), True),
        (["10.0.0.1"], socket.AF_INET, ("10.0.0.2", 1), False),
        (["10.0.0.1"], socket.AF_INET6, ("::ffff:10.0.0.1", 1, 0, 0), True),
        (["::1"], socket.AF_INET6, ("::1", 1, 0, 0), True),
        (["*"], socket.AF_INET, ("192.0.2.7", 1), True),
    ],
)
def test_who_is_a_trusted_peer(trusted: list[str], family: int, peer: Any, expected: bool) -> None:
    """B8: `unix` trusts the peers of unix sockets, and no other."""
    assert Proxies(trusted).trusts(Transport(family, peer)) is expected


def apply(kind: str = "http", root: str = "", **headers: str) -> dict[str, Any]:
    """Return the scope that the application gets for a request of /x."""
    scope: dict[str, Any] = {
        "type": kind,
        "client": None,
        "scheme": {"http": "http", "websocket": "ws"}[kind],
        "root_path": root,
        "path": f"{root}/x",
        "raw_path": f"{root}/x".encode(),
        "headers": [(f"x-forwarded-{n}".encode(), v.encode()) for n, v in headers.items()],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def run() -> None:
        await Forwarded(app, Proxies(["unix"]))(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(run())
    return scope


@pytest.mark.parametrize(
    ("kind", "header", "scheme"),
    [
        ("http", "https", "https"),
        ("http", "https,http", "https"),
        ("http", "HTTPS , http", "https"),
        ("http", "http,https", "http"),
        ("http", "wss", "https"),
        ("http", "javascript", "http"),
        ("http", "", "http"),
        ("websocket", "https", "wss"),
        ("websocket", "wss", "wss"),
        ("websocket", "http", "ws"),
    ],
)
def test_of_several_schemes_the_first_counts(kind: str, header: str, scheme: str) -> None:
    """E10: it is what the client speaks to the outermost proxy."""
    assert apply(kind, proto=header)["scheme"] == scheme


@pytest.mark.parametrize(
    ("root", "header", "path"),
    [
        ("", "/shop", "/shop"),
        ("", "/shop/", "/shop"),
        ("", "/a,/b", "/a/b"),
        ("", "/", ""),
        ("/own", "/shop", "/shop"),
        ("/own", "/", ""),
        # What is no path of ours is not put into addresses
        ("", "//evil.example", ""),
        ("", "https://evil.example", ""),
        ("", "shop", ""),
        ("", "/../admin", ""),
        ("", "/a b", ""),
        ("/own", "//evil.example", "/own"),
    ],
)
def test_a_prefix_is_put_before_the_path(root: str, header: str, path: str) -> None:
    """E10: it is what the proxy has removed."""
    scope = apply(root=root, prefix=header)
    assert scope["root_path"] == path
    assert scope["path"] == f"{path}/x"
    assert scope["raw_path"] == f"{path}/x".encode()
