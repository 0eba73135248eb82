"""Where the inboxes of a platform are: two files for each name of a process, in one folder.

`ticker.Echo.sock` is the inbox. The supervisor binds it and keeps it open, so that messages wait in
the kernel while the processes of that name change. Every process that reads it holds a lock on
`ticker.Echo.up`, which the kernel drops however the process ends.
"""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from skep.base.files.filelock import is_shared, share
from skep.base.rundir import fits_unix

# Bytes; a longer name is replaced by its digest, so that the path through /proc fits too.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class InboxAddress:
    """The inbox of the processes of one name (`ticker.Echo`)."""

    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The file of the socket."""
        return self.folder / f"{self._stem}.sock"

    @property
    def lock(self) -> Path:
        """The file that every process of this name has a lock on."""
        return self.folder / f"{self._stem}.up"

    @property
    def _stem(self) -> str:
        raw = self.name.encode()
        return self.name if len(raw) <= _LONGEST_NAME else hashlib.sha256(raw).hexdigest()[:32]

    @property
    def is_up(self) -> bool:
        """Whether a process of this name reads it now."""
        return is_shared(self.lock)

    def hold(self) -> int:
        """Be a process that reads it; return the descriptor that holds the lock. Raises OSError."""
        return share(self.lock)

    def bind(self) -> socket.socket:
        """Make the inbox, for its owner alone, in place of a stale one. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in (self.path, self.lock):
            stale.unlink(missing_ok=True)
        inbox = _socket()
        old = os.umask(0o177)  # before bind: a chmod afterwards would leave a moment open to all
        try:
            with self._reached() as address:
                inbox.bind(address)
            os.close(os.open(self.lock, os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:
            inbox.close()
            raise
        finally:
            os.umask(old)
        return inbox

    def connect(self) -> socket.socket:
        """Return a socket that sends to the inbox, and can be waited for while that is full.

        Raises FileNotFoundError when there is no such inbox, ConnectionRefusedError when its
        platform has ended, and other OSErrors.
        """
        sender = _socket()
        try:
            with self._reached() as address:
                sender.connect(address)
        except OSError:
            sender.close()
            raise
        return sender

    def remove(self) -> None:
        """Remove the files."""
        for path in (self.path, self.lock):
            with suppress(OSError):
                path.unlink()

    @contextmanager
    def _reached(self) -> Iterator[str]:
        """Yield an address that is short enough for the kernel."""
        if fits_unix(self.path):
            yield str(self.path)
            return
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{folder}/{self.path.name}"
        finally:
            os.close(folder)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
