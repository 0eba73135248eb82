"""The life of a child of the supervisor, the same for every kind of slot.

    Hello ─► prepare() ─► Prepared ─► (Go) ─► accept() ─► Accepting ─► Beat …
          ─► (Drain) ─► retire() ─► HandedOver ─► drain() ─► stop() ─► the process ends

A SIGTERM is a Drain. The end of the channel means that the supervisor is dead: the child drains
briefly and ends, so that a new supervisor finds the port and the store free.
"""

import asyncio
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from skep.base.errors import InternalError, NotPrepared
from skep.base.logs.log import traceback_text
from skep.base.system import signals, stacks
from skep.wire import messages
from skep.wire.channel import Channel, MessageBuffer
from skep.wire.plan import LONGEST_TRACE, Problem

EXIT_DRAINED, EXIT_NOT_PREPARED, EXIT_ORPHANED = 0, 10, 12
# A child has found its own event loop blocked.
EXIT_HUNG = 13
# Seconds for `stop` when the work has ended by itself: no deadline of the supervisor applies.
_STOP = 10.0
_BEAT = 1.0
# Seconds after the supervisor's death: for a drain, and until the process is ended by force, even
# if its event loop is blocked.
_ORPHAN_DRAIN, _ORPHAN_LIFE = 3.0, 4.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class Role(Protocol):
    """What a child does. Each method is called once, in this order, in one event loop; `accept` may
    be left out. A class that derives from this need not prepare, retire or stop."""

    async def prepare(self) -> None:
        """Do everything that may fail; accept no work."""
        return

    async def accept(
        self, listeners: Mapping[str, socket.socket], handover: Mapping[str, Any]
    ) -> asyncio.Task[Any] | None:
        """Start taking work; return the task that does it, if there is one. If that ends before the
        drain, the child ends: with the exit status that is its result, or else it has failed.

        `listeners` are listening sockets by name; `handover` is what `retire` of the predecessor in
        this slot returned (empty if there was none)."""

    def retire(self) -> Mapping[str, Any]:
        """Take no new work; return the state for the successor in this slot."""
        return {}

    async def drain(self, deadline: float) -> None:
        """Finish the running work, until the loop's time `deadline`."""

    async def stop(self) -> None:
        """Release everything; cancel what is not finished."""
        return


async def _agree(change: messages.Change) -> str:
    return ""


async def _not_for_us(question: object) -> Any:
    raise InternalError(f"{question!r} is a question for workers only.")


def _not_the_timer(order: messages.CronOrder) -> messages.CronAnswer:
    raise InternalError(f"{order!r} is an order for the timer only.")


@dataclass(eq=False)
class Lifecycle:
    """Runs a role from `prepare` to `stop`, and answers the supervisor's messages. What is sent
    before `run` is dropped.

    `frame` returns the metric deltas since its last call, or None. `change` carries out a Change
    and returns an objection or nothing. `on_beat` is called each second.
    `unready` returns why the plugins want no requests now, or nothing; `trouble` what does not work
    although the child serves. `on_alone` is called when the predecessor in this slot has ended.
    `happened` returns when the event is kept. `trace` traces the memory. `deliver` delivers for a
    command. `order` carries out an order to the timer. `counters` is the descriptor of the page of
    counters.
    """

    frame: Callable[[], dict[str, Any] | None] = lambda: None
    change: Callable[[messages.Change], Awaitable[str]] = _agree
    on_beat: Callable[[], None] = lambda: None
    unready: Callable[[], str] = str
    trouble: Callable[[], str] = str
    on_alone: Callable[[], None] = lambda: None
    happened: Callable[[messages.Happened], Awaitable[None]] = _not_for_us
    trace: Callable[[messages.Trace], Awaitable[messages.Traced]] = _not_for_us
    deliver: Callable[[messages.Deliver], Awaitable[messages.Delivered]] = _not_for_us
    order: Callable[[messages.CronOrder], messages.CronAnswer] = _not_the_timer
    counters: int | None = None

    def __post_init__(self) -> None:
        self.orphaned = False
        # Whether a new generation has a worker in this slot; known when the drain begins.
        self.replaced = False
        self._role: Role
        self._channel: Channel | None = None
        self._go: asyncio.Future[tuple[messages.Go, list[int]]]
        self._drain: asyncio.Future[float]
        # Set while it drains, for an earlier deadline.
        self._draining: asyncio.Timeout | None = None
        self._answering: set[asyncio.Future[None]] = set()
        self._retired = False

    def retire(self, reason: str, detail: str = "") -> None:
        """Ask once to be replaced; work goes on until the supervisor sends a Drain."""
        if not self._retired:
            self._retired = True
            self.send(messages.Retire(reason, detail))

    def send(self, message: messages.Message) -> None:
        if self._channel is not None:
            self._channel.send(message)

    async def run(
        self, role: Role, sock: socket.socket, framing: MessageBuffer, drain_timeout: float
    ) -> int:
        """Run; return the exit code. `drain_timeout` (seconds) applies to a SIGTERM."""
        self._role = role
        loop = asyncio.get_running_loop()
        self._go, self._drain = loop.create_future(), loop.create_future()
        self._channel = Channel(sock, self._receive, self._orphan, framing)
        loop.add_signal_handler(signal.SIGTERM, self._begin_drain, drain_timeout)
        signals.let_go({signal.SIGTERM, signal.SIGQUIT})
        _watch_for_the_end(sock.fileno())
        files = [stacks.arm()] if self.counters is None else [stacks.arm(), self.counters]
        self._channel.send(messages.Hello(os.getpid(), len(files)), files)
        beats = asyncio.create_task(self._beats())
        try:
            return await self._live()
        finally:
            beats.cancel()
            self._send_frame()
            self._channel.finish(timeout=1.0)

    async def _live(self) -> int:
        if not await self._prepared():
            return EXIT_DRAINED if self._drain.done() else EXIT_NOT_PREPARED
        # What there is to count is known then, also of a child that is killed at once.
        self._send_frame()
        self.send(messages.Prepared())
        await _first(self._go, self._drain)
        if self._go.done() and (code := await self._worked()) is not None:
            return code
        seconds = await self._drain
        self.send(messages.HandedOver(dict(self._role.retire())))
        deadline = asyncio.get_running_loop().time() + seconds
        await self._drained(deadline)
        await self._role.stop()
        return EXIT_ORPHANED if self.orphaned else EXIT_DRAINED

    async def _drained(self, deadline: float) -> None:
        """Drain until the deadline, or an earlier one that is set later."""
        try:
            async with asyncio.timeout(None) as self._draining:
                await self._role.drain(deadline)
        except TimeoutError:
            if self._draining is None or not self._draining.expired():
                raise
        finally:
            self._draining = None

    async def _prepared(self) -> bool:
        preparing = asyncio.ensure_future(_contained(self._role.prepare()))
        await _first(preparing, self._drain)
        if not preparing.done():
            preparing.cancel()
            await asyncio.wait({preparing}, timeout=1.0)
            return False
        return self._succeeded(preparing, "prepare")

    async def _worked(self) -> int | None:
        """Accept, and work until the Drain; return the exit code if the work ends before."""
        go, descriptors = self._go.result()
        listeners = {
            name: socket.socket(fileno=descriptor)
            for name, descriptor in zip(go.listeners, descriptors, strict=True)
        }
        accepting = asyncio.ensure_future(_contained(self._role.accept(listeners, go.handover)))
        await asyncio.wait({accepting})
        if not self._succeeded(accepting, "go"):
            return EXIT_NOT_PREPARED
        self.send(messages.Accepting())
        if (work := accepting.result()) is None:
            return None
        await _first(work, self._drain)
        if self._drain.done():
            return None
        if work.cancelled() or work.exception() is not None or work.result() is None:
            self._failed(work, "work")
            return EXIT_NOT_PREPARED
        return await self._finished(work.result())

    async def _finished(self, code: int) -> int:
        """The work has ended by itself; release everything before the process does."""
        try:
            async with asyncio.timeout(_STOP):
                await self._role.stop()
        except TimeoutError:
            log.warning("it did not stop within %g s after its work had ended", _STOP)
        return code

    def _succeeded(self, step: asyncio.Future[Any], stage: str) -> bool:
        return (not step.cancelled() and step.exception() is None) or self._failed(step, stage)

    def _failed(self, step: asyncio.Future[Any], stage: str) -> bool:
        """Report to the supervisor why the child fails; always return False."""
        error = None if step.cancelled() else step.exception()
        if error is None:
            how = "was cancelled" if step.cancelled() else "ended by itself"
            problem = Problem(stage, f"Its work {how}.")
        elif isinstance(error, NotPrepared):
            problem = Problem(stage, str(error))
        else:
            trace = traceback_text(error, LONGEST_TRACE)
            problem = Problem(stage, f"{type(error).__name__}: {error}", trace=trace)
        self.send(messages.Failed(problem))
        return False

    def _receive(self, message: messages.Message, descriptors: list[int]) -> None:
        match message:
            case messages.Go() if not self._go.done():
                self._go.set_result((message, descriptors))
            case messages.Drain(seconds, replaced):
                self.replaced = replaced
                self._begin_drain(seconds)
            case messages.Alone():
                self.on_alone()
            case messages.Flush(number):
                self._send_frame()
                self.send(messages.Flushed(number))
            case messages.CronOrder():
                self.send(self.order(message))
            case messages.Change() | messages.Trace() | messages.Happened() | messages.Deliver():
                task = asyncio.ensure_future(self._answer(message))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer(
        self, question: messages.Change | messages.Trace | messages.Happened | messages.Deliver
    ) -> None:
        match question:
            case messages.Change(number, _, apply, log_level):
                objection = await self.change(question)
                if apply and log_level:
                    logging.getLogger().setLevel(log_level.upper())
                self.send(messages.Changed(number, apply, objection))
            case messages.Trace():
                self.send(await self.trace(question))
            case messages.Happened(number):
                await self.happened(question)
                self.send(messages.Noted(number))
            case messages.Deliver():
                self.send(await self.deliver(question))

    def _begin_drain(self, seconds: float) -> None:
        if not self._drain.done():
            self._drain.set_result(seconds)
        elif self._draining is not None:
            self._draining.reschedule(asyncio.get_running_loop().time() + seconds)

    def _orphan(self) -> None:
        self.orphaned = True
        log.warning("the supervisor is gone, or wants this process no more: it ends")
        self._begin_drain(_ORPHAN_DRAIN)

    def _send_frame(self) -> None:
        if frame := self.frame():
            self.send(messages.MetricFrame(frame))

    async def _beats(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT
            await asyncio.sleep(_BEAT)
            lag = max(0.0, loop.time() - due)
            self.on_beat()
            self._send_frame()
            self.send(messages.Beat(round(lag, 4), self.unready(), self.trouble()))


async def _contained(step: Coroutine[Any, Any, T]) -> T:
    """Await a step. A plugin may raise SystemExit, which would end the event loop before the cause
    is reported."""
    try:
        return await step
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"a plugin raised {type(error).__name__}({error})") from error


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _watch_for_the_end(descriptor: int) -> None:
    """End this process some seconds after the supervisor, although its event loop may be stuck."""
    watched = os.dup(descriptor)

    def watch() -> None:
        poll = select.poll()
        # Hang-ups are always reported; asking for nothing else keeps ordinary data out.
        poll.register(watched, getattr(select, "POLLRDHUP", 0))
        poll.poll()
        threading.Event().wait(_ORPHAN_LIFE)
        sys.stderr.flush()
        os._exit(EXIT_ORPHANED)

    threading.Thread(target=watch, name="skep-lifeline", daemon=True).start()
