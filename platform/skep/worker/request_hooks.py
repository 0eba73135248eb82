"""What plugins have called around every request: hooks before and after, cleaners at its end."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from skep.api.http_hooks import Cleaner, RequestHook, ResponseHead, ResponseHook
from skep.worker.calling import completed
from skep.worker.handshake import OF_REQUESTS, as_request, empty_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# What describes the body that a hook has replaced.
_OF_BODIES = ("content-encoding", "transfer-encoding", "content-length")


class Hooking:
    """Calls the hooks of each request and of each answer, in the order of the plugins.

    What the first ones change in `request.scope` is what the application gets.
    """

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
        is_request = scope["type"] == "http"
        request = _Incoming(scope, receive) if is_request else _Incoming.of_handshake(scope)
        replaced = False

        async def answer(message: "Message") -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                message, body = await self._generate(request, message)
                if body is not None:
                    replaced = True
                    await send(message)
                    message = {"type": "http.response.body", "body": body}
            await send(message)

        for hook in self._received:
            await completed(hook(request))
        if is_request:
            receive = request.replay()
        else:
            scope.update({k: v for k, v in request.scope.items() if k not in OF_REQUESTS})
        await self._app(scope, receive, answer)

    async def _generate(
        self, request: Request, message: "Message"
    ) -> "tuple[Message, bytes | None]":
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        head = ResponseHead(message["status"], headers)
        for hook in self._generated:
            await completed(hook(request, head))
        if head.body is not None:
            for name in _OF_BODIES:
                del headers[name]
            headers["content-length"] = str(len(head.body))
        return {**message, "status": head.status, "headers": head.headers.raw}, head.body


class _Incoming(Request):
    """A request whose body is there for the application again after a hook has read it."""

    def __init__(self, scope: "Scope", receive: "Receive") -> None:
        super().__init__(scope, self._remember)
        self._source = receive
        self._read: deque[Message] = deque()

    @classmethod
    def of_handshake(cls, scope: "Scope") -> Self:
        """Return the handshake of a WebSocket as the GET it is."""
        return cls(as_request(scope), empty_body())

    async def _remember(self) -> "Message":
        message = await self._source()
        self._read.append(message)
        return message

    def replay(self) -> "Receive":
        """Return what gives the messages that were read, and then the others."""
        if not self._read:
            return self._source
        read = self._read

        async def receive() -> "Message":
            return read.popleft() if read else await self._source()

        return receive


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
                    await completed(cleaner())
                except Exception:
                    log.exception(
                        "the cleaner %s failed", getattr(cleaner, "__qualname__", cleaner)
                    )
