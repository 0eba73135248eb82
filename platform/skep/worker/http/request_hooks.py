"""What plugins have called around every request: hooks before and after, cleaners at its end."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from skep.api.hooks import Cleaner, RequestHook, ResponseHead, ResponseHook
from skep.worker.calling import completed
from skep.worker.http.wrapping import OF_REQUESTS, as_request, empty_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# What describes the body that a hook has replaced.
_OF_BODIES = ("content-encoding", "transfer-encoding", "content-length")
_WITHOUT_BODY = (204, 304)


class Hooking:
    """Calls the hooks of each request and of each answer, in the order of the plugins. What the
    first ones change in `request.scope` is what the application gets."""

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
        incoming = (scope, receive) if is_request else (as_request(scope), empty_body())
        request = _Incoming(*incoming)
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
            if isinstance(await completed(hook(request)), Response):
                raise TypeError(
                    f"The hook {hook!r} of request_received returned a response, which nothing "
                    "sends: raise starlette.exceptions.HTTPException to refuse a request."
                )
        if is_request:
            if request.scope is not scope:  # a hook has assigned one of its own
                scope.update(request.scope)
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
            _check(hook, head)
        body = head.body
        has_body = head.status not in _WITHOUT_BODY
        if not has_body and (body is not None or head.status != message["status"]):
            # A client would take the bytes of a body for the next answer.
            body = b""
        if body is not None:
            for name in _OF_BODIES:
                del headers[name]
            if has_body:
                headers["content-length"] = str(len(body))
        return {**message, "status": head.status, "headers": head.headers.raw}, body


def _check(hook: ResponseHook, head: ResponseHead) -> None:
    """Raise TypeError, while the client can still get a 500, for what cannot be sent."""
    if not isinstance(head.status, int):
        raise TypeError(f"The hook {hook!r} set head.status to {head.status!r}, not to a number.")
    if head.body is not None and not isinstance(head.body, bytes):
        kind = type(head.body).__name__
        raise TypeError(f"The hook {hook!r} set head.body to an object of {kind}, not to bytes.")


class _Incoming(Request):
    """A request whose body the application can read again after a hook has read it."""

    def __init__(self, scope: "Scope", receive: "Receive") -> None:
        super().__init__(scope, self._remember)
        self._source = receive
        self._read: deque[Message] = deque()

    async def _remember(self) -> "Message":
        message = await self._source()
        self._read.append(message)
        return message

    def replay(self) -> "Receive":
        """Return a receiver of the messages that were read, and then of the others."""
        if not self._read:
            return self._source
        read = self._read

        async def receive() -> "Message":
            return read.popleft() if read else await self._source()

        return receive


class Cleaning:
    """Calls the cleaners at the end of a request or a WebSocket connection, whatever its outcome. A
    cleaner that fails is logged, and the others still run."""

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
