"""The address of a listener, and its owner: data, without a socket.

127.0.0.1:5200    TCP, or UDP, by its scheme      [::1]:5200    the same over IPv6
unix:/run/app.sock    a unix socket
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from skep.base.errors import UsageError

Scheme = Literal["http", "https", "tcp", "tls", "udp"]
_ANY = frozenset({"", "0.0.0.0", "::"})
_FORM = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")
# What a `Go` can carry in descriptors, the platform's own among them.
MOST_ENDPOINTS = 60


@dataclass(frozen=True)
class Endpoint:
    """One listener that is wanted.

    `name` is the platform's own (`http`, `echo.lines`). With a `path` it is a unix socket,
    otherwise it is `host` and `port`, where port 0 takes a free one. `scheme` is the protocol, as
    in a URL. `owner` names who wants it, as part of a sentence; `remedy` is how to move it
    elsewhere. `mode` and `group` are the permissions and the group of a unix socket's file; without
    a group it has that of the platform.
    """

    name: str
    host: str = ""
    port: int = 0
    path: str = ""
    scheme: Scheme = "http"
    owner: str = ""
    remedy: str = ""
    mode: int = 0o660
    group: str = ""

    @property
    def transport(self) -> Literal["tcp", "udp"]:
        """What carries it; of a unix socket it says whether it is a stream."""
        return "udp" if self.scheme == "udp" else "tcp"

    @property
    def key(self) -> str:
        """What names the socket: generations that want the same key share one."""
        free = f" for {self.name}" if not self.path and self.port == 0 else ""
        return f"{self.transport} {self.address}{free}"

    @property
    def address(self) -> str:
        """The address for people, in the form in which it is written."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def clashes(self, other: "Endpoint") -> bool:
        """Return whether both cannot listen at the same time."""
        if self.path or other.path:
            return self.path == other.path
        if self.transport != other.transport or self.port != other.port or self.port == 0:
            return False
        hosts = {_canonical(self.host), _canonical(other.host)}
        families = {":" in host for host in hosts if host}
        return len(hosts) == 1 or (bool(hosts & _ANY) and len(families) == 1)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; no name but localhost counts."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse(text: str, name: str, option: str) -> Endpoint:
    """Return the endpoint that an option gives. Raises UsageError naming the option."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Endpoint(name, path=text.removeprefix("unix:"), owner="the platform", remedy=option)
    match = _FORM.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise UsageError(f"{option} is {text!r}; it takes HOST:PORT, [IPV6]:PORT or unix:PATH.")
    host = match["six"] or match["host"] or "0.0.0.0"
    return Endpoint(name, host, int(match["port"]), owner="the platform", remedy=option)


def clashes(endpoints: "list[Endpoint]") -> list[tuple[Endpoint, Endpoint]]:
    """Return each pair that cannot listen at the same time, the one named first in front."""
    return [
        (one, other)
        for i, other in enumerate(endpoints)
        for one in endpoints[:i]
        if one.clashes(other)
    ]


def _canonical(host: str) -> str:
    host = "127.0.0.1" if host == "localhost" else host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
