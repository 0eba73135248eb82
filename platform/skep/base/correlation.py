"""Which request a piece of work belongs to, wherever it goes on: in a task, in another process.

Whoever answers a request binds its id, and the trace it is part of; deliveries carry both along,
and whoever runs one binds them again. Log lines in between carry them.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from skep.base.log import bound

REQUEST_ID, TRACEPARENT = "request_id", "traceparent"

_headers: ContextVar[Mapping[str, str]] = ContextVar("skep_correlation", default={})  # noqa: B039

# What a client may have us repeat in headers and log lines.
_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def headers() -> Mapping[str, str]:
    """Return what a delivery carries of the request that is being answered; {} outside of one."""
    return _headers.get()


def request_id() -> str:
    """Return the id of the request that this code works for, or an empty text."""
    return _headers.get().get(REQUEST_ID, "")


def new_request(given: str = "", traceparent: str = "") -> dict[str, str]:
    """Return the headers of a request that has come with these, if they are fit to be repeated."""
    found = {REQUEST_ID: given if _ID.fullmatch(given) else secrets.token_hex(16)}
    if _TRACEPARENT.fullmatch(traceparent):
        found[TRACEPARENT] = traceparent
    return found


@contextmanager
def correlated(carried: Mapping[str, str]) -> Iterator[None]:
    """Work for the request these headers tell of, in this block and what it awaits."""
    known = {name: carried[name] for name in (REQUEST_ID, TRACEPARENT) if name in carried}
    if not known:
        yield
        return
    fields = {REQUEST_ID: known[REQUEST_ID]} if REQUEST_ID in known else {}
    if (trace := _TRACEPARENT.fullmatch(known.get(TRACEPARENT, ""))) is not None:
        fields["trace_id"] = trace[1]
    token = _headers.set(known)
    try:
        with bound(**fields):
            yield
    finally:
        _headers.reset(token)
