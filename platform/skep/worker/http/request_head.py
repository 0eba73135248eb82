"""What RFC 9110 and 9112 require of a request's head beyond its syntax, for both parsers."""

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache

# The end of a head, and of a chunked body.
END = b"\r\n\r\n"
# The methods that httptools knows; any other is answered with 501 (RFC 9110, 9.1).
METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH COPY LOCK UNLOCK MKCOL MOVE PROPFIND "
    b"PROPPATCH SEARCH BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY "
    b"SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK SOURCE QUERY DESCRIBE ANNOUNCE SETUP PLAY "
    b"PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD FLUSH".split()
)
# What no header has, in a request or in an answer (RFC 9110, 5.5).
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD = re.compile(TOKEN + rb"(?: |\Z)")
# RFC 3986, 3.2.2, without checking what is inside the brackets of an IPv6 address.
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
_ABSOLUTE = re.compile(rb"https?://(?P<host>[^/?#@]+)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?", re.I)
_UPGRADE = b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
# The headers that answers with these statuses must have (RFC 9110, 10.2.3; RFC 6455, 4.4).
_REQUIRED = {503: b"retry-after: 1\r\n", 426: _UPGRADE}

Headers = Iterable[tuple[bytes, bytes]]


class HttpRefusal(Exception):
    """The worker answers this request with a status; it never reaches the application."""

    def __init__(self, status: int, reason: str = "malformed") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = _REQUIRED.get(status, b"")


def unknown_method(request: bytes) -> HttpRefusal:
    """Return the refusal of a request that begins with an unknown method."""
    if request.startswith(b"PRI * HTTP/2.0"):
        return HttpRefusal(505)  # RFC 9113, 3.4
    return HttpRefusal(501 if _METHOD.match(request) else 400)


def check_version(version: str) -> str:
    """Return the version to treat a request of this version as: 1.0 or 1.1. Raises HttpRefusal."""
    if version == "0.9":  # a request line without a version is read as this one
        raise HttpRefusal(400)
    if not version.startswith("1."):
        raise HttpRefusal(505)
    return "1.0" if version == "1.0" else "1.1"


def check_hosts(version: str, hosts: int) -> None:
    """Check how many Host headers a request has (RFC 9112, 3.2). Raises HttpRefusal."""
    if hosts > 1 or (hosts == 0 and version != "1.0"):
        raise HttpRefusal(400)


@lru_cache(maxsize=1024)
def is_host(value: bytes) -> bool:
    """Whether a Host header may have this value; an empty one may."""
    return _HOST.fullmatch(value) is not None


def check_codings(version: str, codings: bytes) -> None:
    """Check the transfer codings of a body, as a list with commas (RFC 9112, 6.1 and 6.3). Raises
    HttpRefusal."""
    names = [name.strip(b" \t").lower() for name in codings.split(b",")]
    is_clear = all(names) and names[-1] == b"chunked" and names.count(b"chunked") == 1
    if not is_clear or version == "1.0":
        raise HttpRefusal(400)  # where the body ends is not known
    if len(names) > 1:
        raise HttpRefusal(501)


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return path and query of a request's target, and the host if the target names one; it counts
    instead of the Host header (RFC 9112, 3.2). Raises HttpRefusal."""
    if b"#" in target:
        raise HttpRefusal(400)
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, None
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not is_host(found["host"]):
        raise HttpRefusal(400)
    return (found["path"] or b"/") + (found["query"] or b""), found["host"]


def checked_target(
    version: str, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], hosts: int
) -> tuple[str, bytes, list[tuple[bytes, bytes]]]:
    """Check a request line and how many Host headers follow; return the version to treat the
    request as, path and query, and the headers with the host that counts. Raises HttpRefusal."""
    version = check_version(version)
    check_hosts(version, hosts)
    if method == b"CONNECT":
        raise HttpRefusal(501)
    target, host = origin_form(method, target)
    return version, target, headers if host is None else with_host(headers, host)


def with_host(headers: Headers, host: bytes) -> list[tuple[bytes, bytes]]:
    """Return headers with this host instead of the one they name."""
    return [(b"host", host), *(header for header in headers if header[0] != b"host")]


def wants_websocket(version: str, headers: Headers) -> bool:
    """Whether a request offers to go on as a WebSocket. An offer of HTTP/1.0 does not count (RFC
    9110, 7.8)."""
    return (
        version != "1.0"
        and b"websocket" in _options(headers, b"upgrade")
        and b"upgrade" in _options(headers, b"connection")
    )


def check_handshake(method: bytes, headers: Headers) -> None:
    """Check the request that opens a WebSocket (RFC 6455, 4.2.1). Raises HttpRefusal."""
    if method != b"GET":
        raise HttpRefusal(400)
    keys, versions = [], []
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0):
            raise HttpRefusal(400)  # what follows the head would be read as frames
        if name == b"sec-websocket-key":
            keys.append(value)
        elif name == b"sec-websocket-version":
            versions.append(value)
    if versions and versions != [b"13"]:
        raise HttpRefusal(426)
    if not versions or len(keys) != 1 or not _is_key(keys[0]):
        raise HttpRefusal(400)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _options(headers: Headers, wanted: bytes) -> set[bytes]:
    """Return the members of all list headers of this name."""
    values = [value.lower() for name, value in headers if name == wanted]
    return {option.strip(b" \t") for option in b",".join(values).split(b",")}
