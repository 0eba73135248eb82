"""The word of a process that it lives, said by a thread, so that a blocked event loop is not taken
for a death."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from skep.base.rundir import unix_address
from skep.engine import protocol

# Several beats may be lost or late before the lease time is over.
_BEATS_PER_TERM = 5
_LONGEST_PAUSE = 5.0
# Until the store has told its lease time: the first pause must not outlast a short one.
_UNTOLD = 1.0
# How long a beat may be stuck when nobody wants it any more.
_FAREWELL = 1.0


class Heartbeat:
    """Beats for an owner on a connection of its own, because no thread may write to the loop's.

    `term` is the lease time in seconds, as soon as the store has told it.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.term = _UNTOLD
        self._path = path
        self._frame = protocol.frame(protocol.Pulse(owner))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to beat, if it does not already."""
        if self._thread is None:
            # A daemon: if the process ends without `stop`, it has nothing left to live for.
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_FAREWELL)

    def _run(self) -> None:
        address = unix_address(self._path)
        while not self._stop.is_set():
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                # The store may be stopped or killed at any moment; the socket outlives it.
                sock.settimeout(self._pause)
                sock.connect(address)
                self._beat(sock)
            self._stop.wait(self._pause)

    def _beat(self, sock: socket.socket) -> None:
        while not self._stop.is_set():
            sock.sendall(self._frame)
            self._stop.wait(self._pause)

    @property
    def _pause(self) -> float:
        return min(self.term / _BEATS_PER_TERM, _LONGEST_PAUSE)
