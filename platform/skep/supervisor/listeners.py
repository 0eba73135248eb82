"""The bound sockets: bound once by the supervisor, inherited by every generation.

The accept queue is the kernel's and belongs to the socket, not to a process: a connection that
waits in it while workers change is served by the next one. Hence one socket shared by all (no
SO_REUSEPORT: the queue of a worker that closes its own socket is reset), which the supervisor keeps
for its whole life and never accepts from.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping

from skep.base.errors import ListenError
from skep.base.sockets import BACKLOG
from skep.supervisor.inheritance import Inherited

# A platform that was killed leaves workers which stop listening within this time (seconds).
_PREDECESSOR = 3.0


class Listeners:
    """Listening sockets by name; `inherited` are bound already, and are used when they fit."""

    def __init__(self, inherited: Mapping[str, Inherited] | None = None) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self._asked: dict[str, tuple[str, int] | None] = {}
        self._inherited = dict(inherited or {})

    async def bind(self, name: str, host: str, port: int, *, patient: bool = False) -> None:
        """Listen on a TCP address; port 0 takes a free one.

        A `patient` call gives the workers of a platform that was killed the time to let go of the
        port. Raises ListenError naming the address and what to do.
        """
        if name in self._sockets or self._adopt(name, host, port):
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (_PREDECESSOR if patient else 0.0)
        while True:
            try:
                self._sockets[name] = _listen(host, port)
                self._asked[name] = (host, port)
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() >= deadline:
                    raise ListenError(_explain(name, host, port, error)) from error
            await asyncio.sleep(0.02)

    def _adopt(self, name: str, host: str, port: int) -> bool:
        inherited = self._inherited.pop(name, None)
        if inherited is None:
            return False
        if not inherited.fits(host, port):
            inherited.sock.close()
            return False
        inherited.sock.listen(BACKLOG)
        self._sockets[name], self._asked[name] = inherited.sock, inherited.asked
        return True

    def legacy(self) -> dict[str, Inherited]:
        """Return what the next one is to inherit: all that is bound to an address."""
        return {name: Inherited(self._sockets[name], asked) for name, asked in self._asked.items()}

    def add(self, name: str, listener: socket.socket) -> None:
        """Keep a socket that listens already."""
        self._sockets[name] = listener

    def descriptors(self, names: tuple[str, ...]) -> list[int]:
        """Return the descriptors of these listeners, in the same order."""
        return [self._sockets[name].fileno() for name in names]

    def port(self, name: str) -> int:
        """Return the port on which a listener listens."""
        return int(self._sockets[name].getsockname()[1])

    def urls(self) -> dict[str, str]:
        """Return the address of each TCP listener, for people."""
        return {name: _url(s) for name, s in self._sockets.items() if s.family != socket.AF_UNIX}

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()
        self._asked.clear()


def claim(name: str, host: str, port: int) -> Inherited:
    """Bind an address ahead of time, while that is still allowed. Raises ListenError."""
    try:
        return Inherited(_listen(host, port), (host, port))
    except OSError as error:
        raise ListenError(_explain(name, host, port, error)) from error


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


_OPTION = {"http": "--port", "admin": "--admin-port", "config": "PLATFORM_CONFIG_SERVER_PORT"}


def _explain(name: str, host: str, port: int, error: OSError) -> str:
    option = _OPTION[name]
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use by another program: choose one with {option}."
        case errno.EACCES:
            return f"Port {port} on {host} needs privileges: choose one above 1023 with {option}."
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine: choose another with --host."
        case _:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            return f"Listening on {host} port {port} failed ({why}): see --host and {option}."
