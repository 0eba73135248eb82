"""How code anywhere in a platform talks to a custom process: class methods that Process has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Self, TypeVar

from skep.api.naming import registered_name
from skep.api.processes.content import Content
from skep.api.processes.message import Messages
from skep.base.errors import ProcessError, Undeclared
from skep.base.telemetry import Telemetry
from skep.messaging import binding, calls
from skep.messaging.address import InboxAddress
from skep.messaging.binding import PostOffice
from skep.messaging.calls import LARGEST, TIMEOUT, IfDown, OpenStream
from skep.messaging.inbox import Inbox
from skep.messaging.waiting import Steps, run, run_blocking

T = TypeVar("T")

_IN_A_COROUTINE = (
    "send_sync(), request_sync() and a plain `for` over stream() are for threads: in a coroutine, "
    "await send() or request(), and use `async for`."
)


class Recipient:
    """What reaches the processes of a class, from any process of the platform or from a script.

    The class options `message` and `reply` are types, checked on both sides: any that msgspec
    knows (dict[str, int], dataclasses, TypedDict …) or a pydantic model; without one it is what
    JSON has, and bytes. `largest` is the most bytes of a message or a reply, 16 MiB unless given.

    All processes of a class share one inbox: each message goes to the first that reads. The kernel
    keeps messages while processes are replaced. While it has no room for more, about ten, callers
    wait. Every call takes `timeout` seconds at most, and with `if_down="fail"` raises ProcessDown
    at once when no process of the class runs.
    """

    _messages: ClassVar[Content] = Content("a message")
    _replies: ClassVar[Content] = Content("a reply")
    _problem: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, message: Any = None, reply: Any = None, largest: int | None = None, **kwargs: Any
    ) -> None:
        """Check the types; those that are not given are those of the base."""
        super().__init_subclass__(**kwargs)
        try:
            cls._messages = _content("message", cls._messages, message, largest)
            cls._replies = _content("reply", cls._replies, reply, largest)
        except ValueError as error:
            cls._problem = str(error)

    @classmethod
    def registered_name(cls) -> str:
        """Return `plugin.Class`."""
        return registered_name(cls)

    @classmethod
    async def send(
        cls, body: Any = None, *, timeout: float = TIMEOUT, if_down: IfDown = "wait"
    ) -> None:
        """Send a message that wants no reply; return when the kernel has it.

        Whether a process has done the work is not known then. Outside of the platform's workers it
        goes to the platform in PLATFORM_DATA_DIR. Raises ProcessBusy when the inbox stays full,
        ProcessDown when no process runs or the class is not known to the platform, MessageInvalid
        and MessageTooLarge for a body that is not as declared, Undeclared when no plugin of this
        worker has the class among its processes, and ProcessError where there is no platform.
        """
        await run(cls._sending(body, timeout, if_down))

    @classmethod
    def send_sync(
        cls, body: Any = None, *, timeout: float = TIMEOUT, if_down: IfDown = "wait"
    ) -> None:
        """Do what `send` does, from a thread, as a handler that is a plain `def` runs in one, or
        from a script."""
        _blocking(cls._sending(body, timeout, if_down))

    @classmethod
    async def request(
        cls, body: Any = None, *, timeout: float = TIMEOUT, if_down: IfDown = "wait"
    ) -> Any:
        """Send a message and return the reply.

        Raises what `send` raises; ProcessTimeout when there is no reply in time, ProcessGone at
        once when the process dies, ProcessFailed when it calls `fail` or does not reply.
        """
        return await run(cls._requesting(body, timeout, if_down))

    @classmethod
    def request_sync(
        cls, body: Any = None, *, timeout: float = TIMEOUT, if_down: IfDown = "wait"
    ) -> Any:
        """Do what `request` does, from a thread or a script."""
        return _blocking(cls._requesting(body, timeout, if_down))

    @classmethod
    def stream(
        cls, body: Any = None, *, timeout: float = TIMEOUT, if_down: IfDown = "wait"
    ) -> ReplyStream:
        """Return the replies to a message, for `async for`, or in a thread for a plain `for`.

        The message is sent with the first step. `timeout` is for each reply. A process that is
        ahead of its caller waits when the kernel has no room for more replies. Each step raises
        what `request` raises.
        """
        office, name = cls._office(), cls.registered_name()
        encoded = _encoded(office, name, cls._messages, body)
        largest = cls._replies.largest
        opened = OpenStream(office, name, encoded, timeout, if_down, largest)
        return ReplyStream(office, name, opened, cls._replies)

    @classmethod
    def messages_from(cls, inbox: Inbox, telemetry: Telemetry) -> Messages:
        """Return the messages in an inbox of this class; for the platform and for tests."""
        return Messages(inbox, cls._messages, cls._replies, telemetry)

    @classmethod
    def open_inbox(cls, address: InboxAddress, sock: socket.socket, telemetry: Telemetry) -> Inbox:
        """Return the inbox with this socket; for the platform and for tests."""

        def refused(reason: str) -> None:
            telemetry.point("process.refused", process=address.name, reason=reason)

        return Inbox(address, sock, cls._messages.largest, refused)

    @classmethod
    def _sending(cls, body: Any, timeout: float, if_down: str) -> Steps[None]:
        office, name = cls._office(), cls.registered_name()
        encoded = _encoded(office, name, cls._messages, body)
        yield from calls.send(office, name, encoded, timeout, if_down)

    @classmethod
    def _requesting(cls, body: Any, timeout: float, if_down: str) -> Steps[Any]:
        office, name = cls._office(), cls.registered_name()
        encoded = _encoded(office, name, cls._messages, body)
        replies = cls._replies
        reply = yield from calls.request(office, name, encoded, timeout, if_down, replies.largest)
        return _decoded(office, name, replies, reply)

    @classmethod
    def _office(cls) -> PostOffice:
        office = binding.current()
        if office.declared is not None and cls not in office.declared:
            raise Undeclared(
                "",
                f"The process {cls.__module__}.{cls.__qualname__} is in no Plugin: declare it with "
                f"Plugin(processes=[{cls.__name__}]).",
            )
        if cls._problem:
            raise ProcessError(f"{cls.__module__}.{cls.__qualname__} {cls._problem}.")
        return office


class ReplyStream:
    """The replies to one message, one after the other; closed when they end or when it is freed.

    `close` ends it early: the process sees that at its next reply.
    """

    def __init__(self, office: PostOffice, name: str, opened: OpenStream, replies: Content) -> None:
        self._office = office
        self._name = name
        self._opened = opened
        self._replies = replies

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """Wait for the next reply."""
        if (body := await run(self._opened.next())) is None:
            raise StopAsyncIteration
        return _decoded(self._office, self._name, self._replies, body)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Wait for the next reply, in a thread."""
        if (body := _blocking(self._opened.next())) is None:
            raise StopIteration
        return _decoded(self._office, self._name, self._replies, body)

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _encoded(office: PostOffice, name: str, content: Content, value: Any) -> bytes:
    with calls.counted(office.telemetry, name):
        return content.encode(name, value)


def _decoded(office: PostOffice, name: str, content: Content, body: bytes) -> Any:
    with calls.counted(office.telemetry, name):
        return content.decode(name, body)


def _content(option: str, base: Content, kind: Any, largest: int | None) -> Content:
    if kind is None and largest is None:
        return base
    if largest is None:
        largest = base.largest
    elif type(largest) is not int or not 1 <= largest <= LARGEST:
        raise ValueError(f"has largest = {largest!r:.40}, which must be bytes from 1 to {LARGEST}")
    try:
        return Content(base.what, base.kind if kind is None else kind, largest)
    except TypeError as error:
        raise ValueError(
            f"has {option} = {kind!r:.80}, which is not a type of data: {error}"
        ) from error


def _blocking(steps: Steps[T]) -> T:
    if asyncio._get_running_loop() is not None:
        steps.close()
        raise ProcessError(_IN_A_COROUTINE)
    return run_blocking(steps)
