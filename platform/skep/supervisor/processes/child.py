"""One running child of the platform: its process, its channel, and how it ended."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from skep.base.system.linux import open_pidfd, send_signal
from skep.base.system.stacks import Stacks
from skep.wire.channel import Channel, pair
from skep.wire.messages import Drain, Fork, Hello, Message, Prepared
from skep.wire.plan import Problem

# How long after the end of a process its exit status may come (from its zygote, through a message).
_STATUS_WAIT = 0.2


class Child:
    """A child, from the moment its start was ordered.

    A forked child says its own process id (`Hello`); until then `pid` is 0. `on_end` is called
    once, when the process is gone; `status` is then its wait status, if it is known. `replaced`
    says that it drains because a new generation has a worker in its slot. `stuck` says what it took
    too long for, `retires` why it wants to be replaced, `booted` whether it was ever prepared,
    `killed` whether we have killed it, `oom` whether the kernel has because memory ran out;
    `unready` and `trouble` are those of its last beat; `stacks` is where its threads were if it was
    aborted or crashed; `counters` is the descriptor of its page of counters, until `take_counters`.
    """

    def __init__(
        self,
        slot: str,
        generation: int,
        channel: socket.socket,
        on_message: Callable[["Child", Message], None],
        on_end: Callable[["Child"], None],
        pid: int = 0,
    ) -> None:
        self.slot = slot
        self.generation = generation
        self.pid = pid
        self.status: int | None = None
        self.ended = False
        self.dismissed = False
        self.replaced = False
        self.stuck = ""
        self.retires = ""
        self.killed = False
        self.oom = False
        self.booted = False
        self.stacks = ""
        self.unready = ""
        self.trouble = ""
        self.problem: Problem | None = None
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._pidfd: int | None = None
        self._closing = False
        self._stacks: Stacks | None = None
        self.counters: int | None = None
        self._channel = Channel(channel, self._receive, self._gone)
        if pid:
            self._watch()

    @property
    def name(self) -> str:
        """How it is called in logs and in `ps`: `web.0@3`, or `agent.0` without a generation."""
        return f"{self.slot}@{self.generation}" if self.generation else self.slot

    @property
    def kind(self) -> str:
        """The kind of its slot: `web` of `web.0`."""
        return self.slot.partition(".")[0]

    @property
    def is_forker(self) -> bool:
        """Whether it does nothing but fork others: it answers no message about itself."""
        return self.slot in ("zygote", "nursery")

    @property
    def killed_by_another(self) -> bool:
        """Whether it has got a SIGKILL that was not ours."""
        killed = self.status is not None and os.WIFSIGNALED(self.status)
        return killed and os.WTERMSIG(self.status or 0) == signal.SIGKILL and not self.killed

    @property
    def age(self) -> float:
        """Seconds since its start was ordered."""
        return self._loop.time() - self.started

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send it a message; to a dead child it is dropped."""
        self._channel.send(message, descriptors)

    def order(self, slot: str) -> socket.socket | None:
        """Order a fork of it; return our end of its channel, None if there is no descriptor."""
        try:
            ours, theirs = pair()
        except OSError:
            return None
        with theirs:
            try:
                self.send(Fork(slot), [theirs.fileno()])
            except OSError:
                ours.close()
                return None
        return ours

    def signal(self, sig: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        if self.pid and not self.ended:
            send_signal(self.pid, self._pidfd, sig)

    def dismiss(self, seconds: float) -> None:
        """Tell it to drain, for so many seconds at most; its end is then nothing unusual."""
        self.dismissed = True
        self.send(Drain(seconds, self.replaced))

    def terminate(self) -> None:
        """Send SIGTERM to it and to its process group."""
        if self.pid and not self.ended and self.status is None:
            _signal_group(self.pid, signal.SIGTERM)

    def listen(self) -> None:
        """Read the messages that have arrived."""
        self._channel.drain()

    async def dump(self) -> str:
        """Return where its threads are, also if its loop is stuck; empty if it does not say."""
        return await self._stacks.take(self.signal) if self._stacks else ""

    def kill(self) -> None:
        """Kill it and what it has started itself, which is in its process group."""
        self.killed = True
        if self.pid and not self.ended and self.status is None:
            # Until it is waited for, neither its pid nor its group's is used again.
            _signal_group(self.pid, signal.SIGKILL)
        self.signal(signal.SIGKILL)
        if not self.pid:
            self._channel.close()
            self._gone()

    def reaped(self, status: int) -> None:
        """It was waited for; `status` is its exit status."""
        self.status = status
        self._gone()

    def take_counters(self) -> int | None:
        """Return the descriptor of its page of counters, which is the caller's to close then."""
        taken, self.counters = self.counters, None
        return taken

    def _receive(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, Hello):
            if descriptors and self._stacks is None:
                self._stacks = Stacks(descriptors.pop(0))
            if descriptors and self.counters is None:
                self.counters = descriptors.pop(0)
            for descriptor in descriptors:
                os.close(descriptor)
            if not self.pid:
                self.pid = message.pid
                self._watch()
        self.booted = self.booted or isinstance(message, Prepared)
        self._on_message(self, message)

    def _watch(self) -> None:
        self._pidfd = open_pidfd(self.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._process_ended)

    def _process_ended(self) -> None:
        # Read what it said last before it is forgotten.
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        self._channel.drain()
        self._gone()

    def _gone(self) -> None:
        """The process is gone, or has closed its channel, which no living child of ours does."""
        if self.ended:
            return
        if self.status is None and self.pid and not self._closing:
            self._closing = True
            self._loop.call_later(_STATUS_WAIT, self._finish)
        elif self.status is not None or not self.pid:
            self._finish()

    def _finish(self) -> None:
        if self.ended:
            return
        if self.status is None and self.pid:
            # Its channel is closed: whatever is left of it is of no use to anybody.
            self.signal(signal.SIGKILL)
        self.ended = True
        self._channel.drain()
        self._channel.close()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._stacks is not None:
            self.stacks = self._stacks.read()
            self._stacks.close()
        self._on_end(self)
        if (counters := self.take_counters()) is not None:
            os.close(counters)


def _signal_group(pid: int, sig: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)
