"""What sends messages to inboxes, in one process: one connected socket for each inbox.

A datagram socket that is connected can be waited for while the inbox is full (the kernel takes ten
messages, net.unix.max_dgram_qlen); one that is not connected would always look ready.
"""

import socket
import threading
import weakref
from pathlib import Path

from skep.messaging.address import InboxAddress
from skep.messaging.frame import OutgoingFrame
from skep.messaging.waiting import Steps, Wait


class Outbox:
    """The way to the inboxes in `folder`, for all loops and threads of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()

    def address(self, name: str) -> InboxAddress:
        return InboxAddress(self.folder, name)

    def send(
        self, name: str, frame: OutgoingFrame, end: float, replies: socket.socket | None = None
    ) -> Steps[bool]:
        """Send a frame; return False if the inbox stayed full until the monotonic time `end`.

        Raises FileNotFoundError when there is no inbox, ConnectionRefusedError when its platform
        has ended, and other OSErrors.
        """
        line, sent = self._line(name), False
        if not line.waiting:
            line, sent = self._try(line, frame, replies)
        while not sent:
            line.waiting += 1  # who comes later waits too, so that each has its turn
            try:
                in_time = yield Wait(line.sock.fileno(), is_writing=True, end=end)
            finally:
                line.waiting -= 1
            if not in_time:
                return False
            line, sent = self._try(line, frame, replies)
        return True

    def close(self) -> None:
        """Forget the sockets; each is closed when no one sends on it."""
        self._lock = threading.Lock()
        self._lines.clear()

    def _try(
        self, line: "_Line", frame: OutgoingFrame, replies: socket.socket | None
    ) -> tuple["_Line", bool]:
        """Return whether it was sent, and the socket to wait for if not."""
        try:
            return line, frame.try_send(line.sock, replies)
        except (ConnectionRefusedError, ConnectionResetError):
            # That inbox was closed. There may be another by now.
            with self._lock:
                if self._lines.get(line.name) is line:
                    del self._lines[line.name]
            line = self._line(line.name)
            return line, frame.try_send(line.sock, replies)

    def _line(self, name: str) -> "_Line":
        with self._lock:
            if (line := self._lines.get(name)) is None:
                line = self._lines[name] = _Line(name, self.address(name).connect())
            return line


class _Line:
    """A connected socket, which is closed when it is not used any more."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.name = name
        self.sock = sock
        self.waiting = 0
        weakref.finalize(self, sock.close)
