"""The socket pair of one message that wants replies: the caller's end, and that of the process."""

import socket
import time
from typing import Self

from skep.messaging.frame import (
    INLINE,
    TO_A_CALLER,
    Kind,
    MalformedFrame,
    OutgoingFrame,
    ReceivedFrame,
    receive,
)
from skep.messaging.waiting import Steps, Wait, forget

CLOSED, LATE, MALFORMED = "closed", "late", "malformed"


class ReplyReader:
    """The caller's end. `theirs` is the other, until the message is sent."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def next(self, end: float, largest: int) -> Steps[ReceivedFrame | str]:
        """Return the next frame; CLOSED when the process has closed its end, LATE when nothing has
        come until `end`, MALFORMED."""
        while True:
            if self._ours.fileno() < 0:
                return CLOSED
            try:
                # A failure may be longer than a reply.
                return receive(self._ours, max(largest, INLINE), TO_A_CALLER)
            except (BlockingIOError, InterruptedError):
                if not (yield Wait(self._ours.fileno(), is_writing=False, end=end)):
                    return LATE
            except MalformedFrame:
                return MALFORMED
            except (EOFError, ConnectionError):
                return CLOSED

    def sent(self) -> None:
        """The process has its end: close ours of it, so that its death is seen."""
        self.theirs.close()

    def close(self) -> None:
        self.theirs.close()
        _close(self._ours)


class ReplyWriter:
    """The end of a process. Its garbage collection closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller does not wait any more."""
        if self.is_closed:
            return True
        try:
            return not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    @property
    def is_closed(self) -> bool:
        return self._sock.fileno() < 0

    def write(self, kind: Kind, body: bytes, timeout: float | None) -> Steps[bool]:
        """Send a frame; return whether the caller can receive it. One that has not read for
        `timeout` seconds, although the kernel has no room for more, is given up."""
        frame = OutgoingFrame(kind, body)
        end = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.is_closed:
                if frame.try_send(self._sock):
                    return True
                if not (yield Wait(self._sock.fileno(), is_writing=True, end=end)):
                    break
        except OSError:
            pass
        finally:
            frame.close()
        self.close()
        return False

    def close(self) -> None:
        _close(self._sock)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _close(sock: socket.socket) -> None:
    if (descriptor := sock.fileno()) >= 0:
        forget(descriptor)
        sock.close()
