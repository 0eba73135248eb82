"""The socketpair between the supervisor and one child.

`Channel` lives in an event loop; `BlockingChannel` is for the zygote, which never has one. End of
file means that the other side is gone, whatever the reason.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from skep.base.sockets.listening import is_readable
from skep.wire.messages import Message, ProtocolError, decode, encode

# Where every child finds its end, and how much is received at a time.
CHANNEL_FD = 3
_RECEIVE = 256 * 1024
_MOST_DESCRIPTORS = 64
# A plan or a frame of metrics is far below this; what is above comes from a broken child.
_LONGEST_LINE = 16 * 1024 * 1024


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new channel; neither is inherited unless it is passed on."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


class MessageBuffer:
    """From bytes and descriptors to whole messages, each with its descriptors; it has no socket."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Iterable[int] = ()) -> None:
        """Take what one receive call returned."""
        self._bytes += data
        self._descriptors.extend(descriptors)

    def next(self) -> tuple[Message, list[int]] | None:
        """Return the next whole message and the descriptors that came with it, or None.

        Raises ProtocolError for a line that is not a message or never ends.
        """
        end = self._bytes.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._bytes)
            if self._searched > _LONGEST_LINE:
                raise ProtocolError(f"{ProtocolError.text}: a line of over {_LONGEST_LINE} bytes.")
            return None
        line = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        self._searched = 0
        message = decode(line)
        wanted = getattr(message, "fds", 0)
        if wanted > len(self._descriptors):
            raise ProtocolError(f"{ProtocolError.text}: descriptors are missing in {message!r}.")
        return message, [self._descriptors.popleft() for _ in range(wanted)]

    def close(self) -> None:
        """Close the descriptors that were not taken."""
        while self._descriptors:
            os.close(self._descriptors.popleft())


class Channel:
    """One end of a channel, in the running event loop.

    `on_message(message, descriptors)` is called for each message, `on_close()` once, at the end of
    file or after a message that could not be understood. Sending never blocks: what the kernel does
    not take waits here.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[Message, list[int]], None],
        on_close: Callable[[], None],
        framing: MessageBuffer | None = None,
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_close = on_close
        self._framing = framing or MessageBuffer()
        self._waiting: deque[tuple[memoryview, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self.closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)
        if framing is not None:
            self._loop.call_soon(self._deliver)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message with copies of the descriptors; to a closed channel it is dropped."""
        if self.closed:
            return
        copies = [os.dup(descriptor) for descriptor in descriptors]
        self._waiting.append((memoryview(encode(message)), copies))
        if len(self._waiting) == 1:
            self._flush()

    def finish(self, timeout: float) -> None:
        """Send what still waits, blocking for `timeout` seconds at most, and close this end."""
        with suppress(OSError):
            self._sock.settimeout(timeout)
            while self._waiting:
                self._sock.sendall(self._waiting.popleft()[0])
        self.close()

    def drain(self) -> None:
        """Take in all that has been received by now; the other side may be gone already."""
        while not self.closed and is_readable(self._sock):
            self._readable()

    def close(self) -> None:
        """Close this end; `on_close` is not called."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._framing.close()
        while self._waiting:
            _close_all(self._waiting.popleft()[1])
        self._sock.close()

    def _readable(self) -> None:
        try:
            data, descriptors = _received(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._end()
            return
        self._framing.feed(data, descriptors)
        self._deliver()

    def _deliver(self) -> None:
        try:
            while not self.closed and (item := self._framing.next()):
                self._on_message(*item)
        except ProtocolError:
            self._end()

    def _end(self) -> None:
        if not self.closed:
            self.close()
            self._on_close()

    def _flush(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                sent = (
                    socket.send_fds(self._sock, [data], descriptors)
                    if descriptors
                    else self._sock.send(data)
                )
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._sock.fileno(), self._flush)
                return
            except OSError:
                # The other side is gone; the reader will see the end of file and report it.
                _close_all(descriptors)
                self._waiting.clear()
                break
            _close_all(descriptors)
            if sent == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = (data[sent:], [])
        self._loop.remove_writer(self._sock.fileno())


class BlockingChannel:
    """One end of a channel for a process without an event loop.

    At the end of file both ways of receiving raise EOFError.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._framing = MessageBuffer()
        sock.setblocking(True)
        sock.set_inheritable(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on before `read`."""
        return self._sock.fileno()

    def send(self, message: Message) -> None:
        """Send a message; if the supervisor is gone, the next receive shows it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(encode(message))

    def receive(self) -> tuple[Message, list[int]]:
        """Wait for one message and return it with its descriptors."""
        while (item := self._framing.next()) is None:
            self._pull()
        return item

    def read(self) -> list[tuple[Message, list[int]]]:
        """Receive once and return the messages that are whole by now."""
        self._pull()
        return self.received()

    def received(self) -> list[tuple[Message, list[int]]]:
        """Return the messages that are whole already: more may have come with one that was waited
        for, and for these the descriptor does not become readable."""
        return list(iter(self._framing.next, None))

    def detach(self) -> tuple[socket.socket, MessageBuffer]:
        """Give up the socket and what came in but was not taken, to be used by a Channel."""
        return self._sock, self._framing

    def close(self) -> None:
        self._framing.close()
        self._sock.close()

    def _pull(self) -> None:
        try:
            data, descriptors = _received(self._sock)
        except ConnectionResetError:
            data, descriptors = b"", []
        if not data:
            raise EOFError
        self._framing.feed(data, descriptors)


def _received(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive once. What comes is not for programs that this process starts: one that outlives it
    would keep a listener open without accepting."""
    data, descriptors, _, _ = socket.recv_fds(sock, _RECEIVE, _MOST_DESCRIPTORS)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # `recv_fds` passes no MSG_CMSG_CLOEXEC on
    return data, descriptors


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    descriptors.clear()
