"""What a plugin may have called around every request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import Request


@dataclass
class ResponseHead:
    """The head of an answer before it is sent: a hook may change its status and its headers.

    A `body` that a hook sets is sent instead of the application's, with its length and without a
    Content-Encoding. An answer with the status 204 or 304 has no body, whatever a hook sets.
    """

    status: int
    headers: MutableHeaders
    body: bytes | None = None


RequestHook = Callable[[Request], Awaitable[None] | None]
ResponseHook = Callable[[Request, ResponseHead], Awaitable[None] | None]
Cleaner = Callable[[], Awaitable[None] | None]
