"""A thread that reports to the store that its process is alive.

A thread, because a blocked event loop must not count as a dead process.
"""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from skep.base.rundir import unix_address
from skep.engine import protocol

# Several beats may be lost or late before the lease time is over.
_BEATS_PER_TERM = 5
_LONGEST_PAUSE = 5.0
# The lease time assumed until the store has sent its own; short, because that may be short.
_ASSUMED = 1.0
# How long `stop` waits for a beat that is stuck.
_FAREWELL = 1.0


class Heartbeat:
    """Beats for an owner on a connection of its own, because no thread may write to the loop's.

    `term` is the lease time in seconds.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.term = _ASSUMED
        self._path = path
        self._frame = protocol.frame(protocol.Pulse(owner))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            # A daemon thread, so that it does not keep a process alive that ends without `stop`.
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
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
                while not self._stop.is_set():
                    sock.sendall(self._frame)
                    self._stop.wait(self._pause)
            self._stop.wait(self._pause)

    @property
    def _pause(self) -> float:
        return min(self.term / _BEATS_PER_TERM, _LONGEST_PAUSE)
