"""What plugins have called around every request: hooks before and after, cleaners at its end."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from skep.api.http_hooks import Cleaner, RequestHook, ResponseHead, ResponseHook

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


class Hooking:
    """Tells the hooks of each request and of each answer, in the order of the plugins."""

    def __init__(
        self,
        app: "ASGIApp",
        received: Sequence[RequestHook],
        generated: Sequence[ResponseHook],
    ) -> None:
        self._app = app
        self._received = received
        self._generated = generated

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = _request(scope, receive)

        async def answer(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message = await self._generate(request, message)
            await send(message)

        for hook in self._received:
            await _call(hook, request)
        await self._app(scope, receive, answer)

    async def _generate(self, request: Request, message: "Message") -> "Message":
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        head = ResponseHead(message["status"], headers)
        for hook in self._generated:
            await _call(hook, request, head)
        return {**message, "status": head.status, "headers": head.headers.raw}


class Cleaning:
    """Calls the cleaners when a request or a WebSocket connection is over, whatever became of it.

    One that fails is logged and does not keep the others from their work.
    """

    def __init__(self, app: "ASGIApp", cleaners: Sequence[Cleaner]) -> None:
        self._app = app
        self._cleaners = cleaners

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            for cleaner in self._cleaners:
                try:
                    await _call(cleaner)
                except Exception:
                    log.exception(
                        "the cleaner %s failed", getattr(cleaner, "__qualname__", cleaner)
                    )


def _request(scope: "Scope", receive: "Receive") -> Request:
    """The head of a request, also of one that asks for a WebSocket; the body is the handler's."""
    return Request({**scope, "type": "http", "method": scope.get("method", "GET")}, receive)


async def _call(function: Callable[..., Awaitable[None] | None], *arguments: Any) -> None:
    done = function(*arguments)
    if inspect.isawaitable(done):
        await done
