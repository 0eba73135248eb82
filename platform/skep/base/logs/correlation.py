"""Which request a piece of work belongs to, wherever it goes on: in a task, in another process.

The process that answers a request binds its id, and the trace it is part of; deliveries carry both,
and the process that runs one binds them again. Log lines in between carry them.
"""

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from skep.base.logs import log
from skep.base.logs.log import bound, bound_fields

REQUEST_ID, TRACEPARENT = "request_id", "traceparent"

# The id of the request is one of the fields that log lines carry; of the trace they carry a part.
_traceparent: ContextVar[str] = ContextVar("skep_traceparent", default="")

# What a client may have us repeat in headers and log lines.
_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# W3C Trace Context: version, trace id, parent id, flags. Zeros mean that there is no id.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def headers() -> dict[str, str]:
    """Return what a delivery carries of the request that is being answered; {} outside of one."""
    found = {REQUEST_ID: request_id(), TRACEPARENT: _traceparent.get()}
    return {name: value for name, value in found.items() if value}


def request_id() -> str:
    """Return the id of the request that this code works for, or an empty text."""
    return str(bound_fields().get(REQUEST_ID, ""))


def trace_id() -> str:
    """Return the id of the trace that this code works for, or an empty text."""
    return str(bound_fields().get("trace_id", ""))


def new_request(given: str = "", traceparent: str = "") -> dict[str, str]:
    """Return the headers of a request that has come with these, if they are fit to be repeated."""
    if not (given and _ID.fullmatch(given)):
        given = _new_id()
    found = {REQUEST_ID: given}
    if traceparent and _TRACEPARENT.fullmatch(traceparent):
        found[TRACEPARENT] = traceparent
    return found


def begin(given: str = "", traceparent: str = "") -> str:
    """Work for a request that has come with these headers, until the context ends; return its id.

    Call it in an asyncio task of its own, that of the request.
    """
    if not (given or traceparent):  # most requests, and it is done for each
        name = _new_id()
        log.begin({REQUEST_ID: name})
        return name
    carried = new_request(given, traceparent)
    fields = {REQUEST_ID: carried[REQUEST_ID]}
    if TRACEPARENT in carried:
        _traceparent.set(traceparent)
        fields["trace_id"] = traceparent.split("-")[1]
    log.begin(fields)
    return carried[REQUEST_ID]


def join(traceparent: str) -> None:
    """Work for this trace too, until the context ends. Call it in an asyncio task of its own."""
    _traceparent.set(traceparent)
    log.begin({**bound_fields(), "trace_id": traceparent.split("-")[1]})


def _new_id() -> str:
    # It is a name and no secret: the system's random numbers cost a call each.
    return random.getrandbits(128).to_bytes(16, "big").hex()


def follow(carried: Mapping[str, str], fields: Mapping[str, Any]) -> None:
    """Work from now on for the request of these headers, or for none, until the next call or the
    end of the context; log lines carry these fields too."""
    found = dict(fields)
    if _ID.fullmatch(carried.get(REQUEST_ID, "")):
        found[REQUEST_ID] = carried[REQUEST_ID]
    traceparent = carried.get(TRACEPARENT, "")
    if (trace := _TRACEPARENT.fullmatch(traceparent)) is not None:
        found["trace_id"] = trace[1]
    _traceparent.set(traceparent if trace else "")
    log.begin(found)


@contextmanager
def correlated(carried: Mapping[str, str]) -> Iterator[None]:
    """Work for the request of these headers, in this block and what it awaits."""
    fields = {REQUEST_ID: carried[REQUEST_ID]} if REQUEST_ID in carried else {}
    traceparent = carried.get(TRACEPARENT, "")
    if (trace := _TRACEPARENT.fullmatch(traceparent)) is not None:
        fields["trace_id"] = trace[1]
    if not fields:
        yield
        return
    token = _traceparent.set(traceparent)
    try:
        with bound(**fields):
            yield
    finally:
        _traceparent.reset(token)
