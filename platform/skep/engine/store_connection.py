"""The client's end of the connection to the store.

Every request is kept until it is answered, as the bytes that were sent. When the connection ends,
the client connects again, names the leases it holds, and repeats what was not answered: the store
recognises a delivery by its id, and a lease by its token. So a store may be killed and restarted at
any moment; callers only wait a little longer.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.base.backoff import Backoff
from skep.base.errors import (
    EngineError,
    QueueFull,
    RequestRefused,
    StoreFull,
    StoreUnavailable,
)
from skep.base.rundir import unix_address
from skep.engine import protocol
from skep.engine.contract import Lease
from skep.engine.heartbeat import Heartbeat

log = logging.getLogger(__name__)

NOT_OPEN = "The engine is not open: nothing can be delivered or leased here."
# The supervisor keeps the socket while the store is away, so reconnecting rarely fails.
_RECONNECT = Backoff(first=0.02, factor=2.0, cap=1.0, jitter=1.0)
# How often requests are checked for having waited too long.
_LOOK_EVERY = 0.5
# How long the store may take to let a client go.
_FAREWELL = 1.0
_NEVER = float("inf")


@dataclass(slots=True)
class _Call:
    """A request that is not answered; without a future, no caller waits for it."""

    frame: bytes
    future: asyncio.Future[Any] | None
    expires: float
    tokens: Sequence[str] = ()


class StoreConnection:
    """Repeats requests until they are answered; knows which leases this process holds.

    `flagged` is called with the ids of deliveries that are held here and were cancelled.
    """

    def __init__(
        self, path: Path, owner: str, deadline: float, flagged: Callable[[list[str]], None]
    ) -> None:
        self._path = path
        self._owner = owner
        self._deadline = deadline
        self._flagged = flagged
        self._heartbeat = Heartbeat(path, owner)
        self._loop: asyncio.AbstractEventLoop
        self._keeper: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._link: _Link | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        # The tokens of all leases this process has; a dict because it keeps their order.
        self._held: dict[str, None] = {}
        self._outbox: list[bytes] = []
        self._look: asyncio.TimerHandle | None = None

    def next_call(self) -> int:
        return next(self._numbers)

    async def open(self) -> None:
        """Connect. Raises StoreUnavailable when nothing listens on the socket."""
        self._loop = asyncio.get_running_loop()
        self._keeper = asyncio.create_task(self._keep_connected(unix_address(self._path)))
        try:
            await asyncio.wait_for(self._connected.wait(), self._deadline)
        except TimeoutError:
            await self.close()
            raise StoreUnavailable(
                f"Nothing listens on {self._path} after {self._deadline:g} s: "
                "is the platform running, and is this its data directory?"
            ) from None

    async def close(self) -> None:
        """Give back what is held and disconnect. Open requests fail with EngineError."""
        if self._keeper is None:
            return
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        self._keeper = None
        self._heartbeat.stop()
        if (link := self._link) is not None:
            link.transport.write(protocol.frame(protocol.Bye(self.next_call())))
            with suppress(TimeoutError):
                await asyncio.wait_for(link.ended.wait(), _FAREWELL)
            link.transport.abort()
        for call in self._calls.values():
            _fail(call, EngineError("The engine was closed before the store had answered."))
        self._calls.clear()
        if self._look is not None:
            self._look.cancel()

    async def ask(
        self, request: protocol.Request, tokens: Sequence[str] = (), wait: float = 0.0
    ) -> Any:
        """Return the store's reply, which ends the leases of these tokens.

        Raises StoreUnavailable when there is none in time, `wait` s later than usually; ValueError
        when the request breaks the protocol, which is then not sent; RequestRefused when the store
        cannot carry it out.
        """
        future = self._loop.create_future()
        self._call(request, future, self._loop.time() + self._deadline + wait, tokens)
        return await future

    async def take(self, queues: Sequence[str], n: int) -> list[Lease]:
        """Wait for leases, for ever; if that is cancelled, they go back."""
        number = self.next_call()
        future = self._loop.create_future()
        self._call(protocol.Take(number, queues, n), future, _NEVER)
        self._heartbeat.start()
        try:
            reply: protocol.Leases = await future
        except asyncio.CancelledError:
            self._take_no_more(number, future)
            raise
        return reply.leases

    # -- the connection --------------------------------------------------------------------------

    async def _keep_connected(self, address: str) -> None:
        """Reconnect for ever, with growing delays while no store answers."""
        failures = 0
        while True:
            link = _Link(self)
            with suppress(OSError):
                await self._loop.create_unix_connection(lambda link=link: link, address)  # type: ignore[misc]
                await link.ended.wait()
            failures = 0 if link.welcome else failures + 1
            if failures:
                await asyncio.sleep(_RECONNECT.delay(failures))

    def _begin(self, link: "_Link") -> None:
        """Send the introduction, and repeat what is not answered."""
        self._link = link
        self._outbox.clear()
        link.claimed = tuple(self._held)
        hello = protocol.Introduction(self.next_call(), self._owner, link.claimed)
        frames = [protocol.frame(hello), *(call.frame for call in self._calls.values())]
        link.transport.write(b"".join(frames))
        self._connected.set()

    # -- requests and replies --------------------------------------------------------------------

    def _call(
        self,
        request: protocol.Request,
        future: asyncio.Future[Any] | None,
        expires: float,
        tokens: Sequence[str] = (),
    ) -> None:
        if self._keeper is None:
            raise EngineError(NOT_OPEN)
        call = _Call(protocol.checked_frame(request), future, expires, tokens)
        self._calls[request.call] = call
        self._send(call.frame)
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_EVERY, self._look_for_expired)

    def _send(self, frame: bytes) -> None:
        """Send with all else that is sent in this round of the loop."""
        if self._link is not None:
            self._outbox.append(frame)
            if len(self._outbox) == 1:
                self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._link is not None and self._outbox:
            self._link.transport.write(b"".join(self._outbox))
        self._outbox.clear()

    def _answer(self, link: "_Link", reply: protocol.Reply) -> None:
        call = self._calls.pop(reply.call, None)
        match reply:
            case protocol.Welcome(_, kept, lease):
                self._heartbeat.term = lease / 1000
                link.welcome = True
                for token, still_ours in zip(link.claimed, kept, strict=True):
                    if not still_ours:  # it went to another holder while disconnected
                        self._held.pop(token, None)
            case protocol.Leases():
                self._receive(call, reply)
            case protocol.Flagged(ids):
                self._flagged(ids)
            case protocol.NoRoom() if call is not None:
                _fail(call, refusal(reply))
            case protocol.Invalid(_, error):
                log.error("The store and this process do not understand each other: %s", error)
                if call is not None:
                    _fail(call, RequestRefused(f"The store refused the request: {error}"))
            case _ if call is not None:
                for token in call.tokens:
                    self._held.pop(token, None)
                if call.future is not None and not call.future.done():
                    call.future.set_result(reply)

    def _receive(self, call: _Call | None, reply: protocol.Leases) -> None:
        """Give leases to the caller that waits for them, or return them to the store."""
        for lease in reply.leases:
            self._held[lease.token] = None
        if call is not None and call.future is not None and not call.future.done():
            call.future.set_result(reply)
        else:
            self._release(reply.leases)

    def _take_no_more(self, number: int, future: asyncio.Future[Any]) -> None:
        """Undo a request to lease, whether it is sent, answered or neither."""
        if not future.cancelled():  # it was answered in the same round of the loop
            self._release(future.result().leases)
        elif self._calls.pop(number, None) is not None:  # it may still be answered with leases
            self._send(protocol.frame(protocol.Untake(number)))

    def _release(self, leases: Sequence[Lease]) -> None:
        """Give leases back without waiting for the answer."""
        if leases and self._keeper is not None:
            marks = [protocol.Mark(lease.token, "release", 0, "", "", ()) for lease in leases]
            tokens = tuple(lease.token for lease in leases)
            self._call(protocol.Settle(self.next_call(), marks), None, _NEVER, tokens)

    def _look_for_expired(self) -> None:
        now = self._loop.time()
        silence = (
            f"The store did not answer on {self._path} for {self._deadline:g} s: "
            "whether it has done what was asked is not known."
        )
        for number, call in list(self._calls.items()):
            if call.expires <= now:
                del self._calls[number]
                _fail(call, StoreUnavailable(silence))
        self._look = None
        if any(call.expires < _NEVER for call in self._calls.values()):
            self._look = self._loop.call_later(_LOOK_EVERY, self._look_for_expired)


class _Link(asyncio.Protocol):
    """One connection to the store."""

    transport: asyncio.Transport

    def __init__(self, connection: StoreConnection) -> None:
        self.ended = asyncio.Event()
        self.welcome = False
        self.claimed: tuple[str, ...] = ()
        self._connection = connection
        self._splitter = protocol.Splitter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream's transport is one
        self._connection._begin(self)

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._connection._answer(self, protocol.read_reply(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection._link = None
        self.ended.set()


def refusal(reply: protocol.NoRoom) -> EngineError:
    """Return the error to raise when the store refuses a request."""
    if reply.queue:
        return QueueFull(f"The queue {reply.queue} is full ({reply.error}): deliver again later.")
    return StoreFull(f"The disk of the data directory is full ({reply.error}).")


def _fail(call: _Call, error: Exception) -> None:
    if call.future is not None and not call.future.done():
        call.future.set_exception(error)
