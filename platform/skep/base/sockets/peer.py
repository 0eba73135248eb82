"""Who is at the other end of a unix socket, by the word of the kernel."""

import os
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("iii")


@dataclass(frozen=True)
class Peer:
    """A process, as it was when it connected. `pid` is 0 where the kernel does not say."""

    pid: int
    uid: int

    @property
    def trusted(self) -> bool:
        """Whether it may give us orders: it is root or our own user."""
        return self.uid in (0, os.geteuid())


def peer_of(connection: socket.socket) -> Peer:
    """Return who has connected. Where the kernel does not say, the modes of the directory and the
    socket let in only our own user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return Peer(0, os.geteuid())
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid)
