"""What a process receives: messages one after the other, and the way to answer each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, Self, TypeVar

from skep.api.processes.content import Content
from skep.base.errors import MessageInvalid, MessageTooLarge, ProcessError
from skep.base.logs import correlation
from skep.base.logs.log import bound_fields
from skep.base.telemetry import Telemetry
from skep.messaging.calls import FAILED, INVALID, LARGE, too_large
from skep.messaging.frame import Kind, ReceivedFrame
from skep.messaging.inbox import Inbox
from skep.messaging.replies import ReplyWriter
from skep.messaging.waiting import Steps, run, run_blocking

T = TypeVar("T")

log = logging.getLogger(__name__)

# Seconds for which a caller that does not read may hold up a process.
PATIENCE = 10.0
# Characters of a failure's reason that its caller receives.
_LONGEST_REASON = 8000


class Message:
    """One message to a process.

    `body` is what was sent, `kind` how: "send" wants no reply, "request" one, "stream" any number.
    The methods with `_sync` are for a `run` that is a plain `def`.
    """

    def __init__(
        self,
        name: str,
        frame: ReceivedFrame,
        body: Any,
        writer: ReplyWriter | None,
        replies: Content,
    ) -> None:
        self.body = body
        self.kind: Literal["send", "request", "stream"]
        self.kind = frame.kind.name.lower()  # type: ignore[assignment]
        self.is_kept = False
        self._name = name
        self._writer = writer
        self._replies = replies
        self._is_stream = frame.kind is Kind.STREAM

    @property
    def abandoned(self) -> bool:
        """Whether its caller does not wait any more. What is sent has none."""
        return self._writer is None or self._writer.is_abandoned

    @property
    def answered(self) -> bool:
        """Whether no reply is possible any more, or none is wanted."""
        return self._writer is None or self._writer.is_closed

    async def reply(self, value: Any = None, *, timeout: float | None = PATIENCE) -> bool:
        """Send a reply: the one of a request, or the next one of a stream.

        Return False if the caller does not receive it: it has given up or has ended, or nothing was
        to be answered. A caller of a stream that has not read for `timeout` seconds, with more
        underway than the kernel holds, counts as one that has given up. A value that is too large
        or not as declared is logged, and raises MessageTooLarge or MessageInvalid at the caller,
        not here: what a caller asks for must not end the process. Raises ProcessError for a second
        reply to a request.
        """
        return await run(self._reply(value, timeout))

    def reply_sync(self, value: Any = None, *, timeout: float | None = PATIENCE) -> bool:
        """Do what `reply` does, in a thread."""
        return _in_thread("reply", self._reply(value, timeout))

    async def fail(self, reason: str) -> bool:
        """Let the caller's call raise ProcessFailed with this reason, a text of up to 8000
        characters; return False if it does not wait. A stream ends by it."""
        return await run(self._close(Kind.FAILURE, _failure(FAILED, reason)))

    def fail_sync(self, reason: str) -> bool:
        """Do what `fail` does, in a thread."""
        return _in_thread("fail", self._close(Kind.FAILURE, _failure(FAILED, reason)))

    async def end(self) -> bool:
        """End the replies of a stream; return False if the caller does not wait any more."""
        return await run(self._close(Kind.END, b""))

    def end_sync(self) -> bool:
        """Do what `end` does, in a thread."""
        return _in_thread("end", self._close(Kind.END, b""))

    def keep(self) -> Self:
        """Answer it later: return it, to be passed to another task or thread.

        Without this a stream ends, and a request that has no reply fails, when the process goes on
        to its next message.
        """
        self.is_kept = True
        return self

    def finish(self) -> Steps[bool]:
        """What happens when the process goes on to its next message; for the platform."""
        if self.is_kept or self.answered:
            return False
        if self._is_stream:
            return (yield from self._close(Kind.END, b""))
        text = (
            "it went on to its next message without a reply; it has to call reply() or fail(), or "
            "keep() to do that later"
        )
        log.warning("A request to %s has no reply: %s.", self._name, text)
        return (yield from self._close(Kind.FAILURE, _failure(FAILED, text)))

    def _reply(self, value: Any, timeout: float | None) -> Steps[bool]:
        if self._writer is None:
            return False
        if self._writer.is_closed:
            if self._is_stream:
                return False
            raise ProcessError(f"{self._name} has answered this request already.")
        try:
            body = self._replies.encode(self._name, value)
        except (MessageInvalid, MessageTooLarge) as error:
            code = LARGE if isinstance(error, MessageTooLarge) else INVALID
            log.error("%s The reply was not sent.", error)
            yield from self._close(Kind.FAILURE, _failure(code, str(error)))
            return False
        if self._is_stream:
            return (yield from self._writer.write(Kind.PART, body, timeout))
        return (yield from self._close(Kind.REPLY, body, timeout))

    def _close(self, kind: Kind, body: bytes, timeout: float | None = PATIENCE) -> Steps[bool]:
        """Send the last frame."""
        if self._writer is None:
            return False
        try:
            return (yield from self._writer.write(kind, body, timeout))
        finally:
            self._writer.close()


class Messages:
    """The messages of a process, for `async for`, or in a thread for a plain `for`.

    It ends when the process has to end; messages that wait then are read by the next one.
    """

    def __init__(
        self, inbox: Inbox, messages: Content, replies: Content, telemetry: Telemetry
    ) -> None:
        self._inbox = inbox
        self._messages = messages
        self._replies = replies
        self._telemetry = telemetry
        self._name = inbox.address.name
        self._fields = dict(bound_fields())
        self._last: Message | None = None

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        """Go on to the next message."""
        # Other tasks of the loop run too, and other processes read, when there is always a message.
        await asyncio.sleep(0)
        if (message := await run(self._next())) is None:
            raise StopAsyncIteration
        return message

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        """Go on to the next message, in a thread."""
        if (message := _in_thread("async for", self._next())) is None:
            raise StopIteration
        return message

    def _next(self) -> Steps[Message | None]:
        last, self._last = self._last, None
        if last is not None:
            yield from last.finish()
        while (taken := (yield from self._inbox.take())) is not None:
            frame, writer = taken
            if (message := (yield from self._opened(frame, writer))) is not None:
                self._last = message
                self._telemetry.point("process.received", process=self._name, kind=message.kind)
                correlation.follow(_headers(frame.context), self._fields)
                return message
        return None

    def _opened(self, frame: ReceivedFrame, writer: ReplyWriter | None) -> Steps[Message | None]:
        """Return the message; None, after its caller was notified, for one that is not taken."""
        name, content = self._name, self._messages
        if writer is not None and writer.is_abandoned:
            self._refuse("abandoned")
            writer.close()
            return None
        try:
            if frame.length > content.largest:
                raise too_large(name, content.what, frame.length, content.largest)
            body = content.decode(name, frame.body)
        except (MessageInvalid, MessageTooLarge) as error:
            code = LARGE if isinstance(error, MessageTooLarge) else INVALID
            self._refuse(code)
            log.warning("%s The message was refused.", error)
            if writer is not None:
                yield from writer.write(Kind.FAILURE, _failure(code, str(error)), PATIENCE)
                writer.close()
            return None
        return Message(name, frame, body, writer, self._replies)

    def _refuse(self, reason: str) -> None:
        self._telemetry.point("process.refused", process=self._name, reason=reason)


def _failure(code: str, text: str) -> bytes:
    return f"{code}\n{text[:_LONGEST_REASON]}".encode(errors="replace")


def _headers(context: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in context.decode(errors="replace").split("\n"))
    return {name: value for name, _, value in pairs if value}


def _in_thread(method: str, steps: Steps[T]) -> T:
    if asyncio._get_running_loop() is not None:
        steps.close()
        instead = method if method == "async for" else f"await {method}()"
        raise ProcessError(
            f"This is for threads, and would stop the event loop: in a coroutine, {instead}."
        )
    return run_blocking(steps)
