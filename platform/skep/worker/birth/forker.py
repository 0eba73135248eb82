"""A process that forks others on order, and reaps them.

It never starts an event loop and is single-threaded, so a fork of it is safe. Its memory is frozen
before the first fork: the collector of a child would otherwise write to, and so copy, the shared
pages.
"""

import gc
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

from skep.base.system.linux import ended_children
from skep.base.system.signals import HELD
from skep.wire.channel import CHANNEL_FD, BlockingChannel
from skep.wire.messages import Exited, Fork, Message
from skep.worker import fork_guard

log = logging.getLogger(__name__)


class Forker:
    """Takes orders on a channel until it ends; `run` returns only in the child of a fork, with the
    channel of that child."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._failing = False

    def take(self, order: Message) -> None:
        """Carry out an order that is not a fork."""

    def alone(self) -> Mapping[str, str] | None:
        """Return the environment for children that start afresh because a fork would not be safe;
        None if it is safe."""
        return None

    def run(self) -> socket.socket:
        """Fork on order. When the channel ends, the supervisor is gone and this process exits."""
        gc.collect()
        gc.freeze()
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wakeup_write)
        with selectors.PollSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(wakeup_read, selectors.EVENT_READ)
            self._reap()
            born = self._serve(selector, wakeup_read)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(wakeup_read)
        os.close(wakeup_write)
        self._channel.close()
        return born

    def _serve(self, selector: selectors.BaseSelector, wakeup: int) -> socket.socket:
        if born := self._obey(self._channel.received()):
            return born
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wakeup in ready:
                _empty(wakeup)
                self._reap()
            if self._channel.fileno() in ready and (born := self._obey(self._read())):
                return born

    def _read(self) -> list[tuple[Message, list[int]]]:
        try:
            return self._channel.read()
        except EOFError:
            os._exit(0)  # not sys.exit: no plugin's exit hook may run in a process without a loop

    def _obey(self, orders: list[tuple[Message, list[int]]]) -> socket.socket | None:
        forks = []
        for order, descriptors in orders:
            if isinstance(order, Fork):
                forks.append((order.slot, socket.socket(fileno=descriptors[0])))
            else:
                self.take(order)
        return self._fork(forks)

    def _fork(self, forks: list[tuple[str, socket.socket]]) -> socket.socket | None:
        for slot, channel in forks:
            try:
                if self._is_child(slot, channel):
                    for _, other in forks:
                        if other is not channel:
                            other.close()
                    return channel
                self._failing = False
            except OSError as error:  # out of processes or memory: who has ordered it will again
                if not self._failing:
                    log.error("no process can be forked (%s); it is tried again", error.strerror)
                self._failing = True
            channel.close()
        return None

    def _is_child(self, slot: str, channel: socket.socket) -> bool:
        """Start another process; return whether this is it."""
        if (environment := self.alone()) is None:
            return fork_guard.fork() == 0
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "skep.worker", slot],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, channel.fileno(), CHANNEL_FD)],
            setsid=True,
            setsigmask=HELD,
        )
        return False

    def _reap(self) -> None:
        for pid, status in ended_children():
            self._channel.send(Exited(pid, status))


def _empty(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


def _ignore(*_: object) -> None:
    """Handle SIGCHLD by waking the selector, which the wakeup descriptor does."""
