"""A process that forks others on order, and waits for those it has forked.

It never starts an event loop and is single-threaded, so a fork of it is safe. Its memory is frozen
before the first fork, so that the collector of a child does not write to, and thereby copy, the
pages that all share.
"""

import gc
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from skep.base.system.linux import ended_children
from skep.base.system.signals import HELD
from skep.wire.channel import CHANNEL_FD, BlockingChannel
from skep.wire.messages import Exited, Fork, Message
from skep.worker import fork_guard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Birth:
    """This process has just been forked, and this is its end of its channel."""

    channel: socket.socket


class Forker:
    """Takes orders on a channel until it ends; `run` returns in the child of a fork only."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._failing = False

    def take(self, order: Message) -> None:
        """Do what is ordered, if it is no fork."""

    def alone(self) -> Mapping[str, str] | None:
        """Return in what environment children have to be started afresh, because a fork would not
        be safe; None if it is."""
        return None

    def run(self) -> Birth:
        """Fork on order. The end of the channel ends the process: the supervisor is gone."""
        gc.collect()
        gc.freeze()
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(wakeup_write)
        with selectors.PollSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(wakeup_read, selectors.EVENT_READ)
            self._reap()
            birth = self._serve(selector, wakeup_read)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(wakeup_read)
        os.close(wakeup_write)
        self._channel.close()
        return birth

    def _serve(self, selector: selectors.BaseSelector, wakeup: int) -> Birth:
        if birth := self._obey(self._channel.received()):
            return birth
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wakeup in ready:
                _empty(wakeup)
                self._reap()
            if self._channel.fileno() in ready and (birth := self._obey(self._read())):
                return birth

    def _read(self) -> list[tuple[Message, list[int]]]:
        try:
            return self._channel.read()
        except EOFError:
            os._exit(0)  # not sys.exit: no plugin's exit hook may run in a process without a loop

    def _obey(self, orders: list[tuple[Message, list[int]]]) -> Birth | None:
        forks = []
        for order, descriptors in orders:
            if isinstance(order, Fork):
                forks.append((order.slot, socket.socket(fileno=descriptors[0])))
            else:
                self.take(order)
        return self._fork(forks)

    def _fork(self, forks: list[tuple[str, socket.socket]]) -> Birth | None:
        """Give birth; in the child, let go of the channels of its siblings."""
        for slot, channel in forks:
            try:
                if self._is_child(slot, channel):
                    for _, other in forks:
                        if other is not channel:
                            other.close()
                    return Birth(channel)
                self._failing = False
            except OSError as error:  # out of processes or memory: who has ordered it will again
                self._complain(error)
            channel.close()
        return None

    def _is_child(self, slot: str, channel: socket.socket) -> bool:
        """Have another process; say whether this is it."""
        if (environment := self.alone()) is None:
            return fork_guard.fork() == 0
        _spawn(slot, channel, environment)
        return False

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            log.error("no process can be forked (%s); it is tried again", error.strerror)
        self._failing = True

    def _reap(self) -> None:
        for pid, status in ended_children():
            self._channel.send(Exited(pid, status))


def _spawn(slot: str, channel: socket.socket, environment: Mapping[str, str]) -> None:
    """Start a worker that loads for itself, because a fork of this process would not be safe."""
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "skep.worker", slot],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, channel.fileno(), CHANNEL_FD)],
        setsid=True,
        setsigmask=HELD,
    )


def _empty(descriptor: int) -> None:
    while True:
        try:
            if not os.read(descriptor, 4096):
                return
        except BlockingIOError:
            return


def _ignore(*_: object) -> None:
    """Handle SIGCHLD by waking the selector, which the wakeup descriptor does."""
