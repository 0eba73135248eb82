"""Descriptors that this process was started with: from a service manager (socket activation,
sd_listen_fds(3)), or from the supervisor that it was before a restart.

Both come in the same way, from descriptor 3 on, named in LISTEN_FDNAMES. What a restart hands down
is named `http@127.0.0.1@5200`, after the address that was asked for: if another is wanted now, the
socket is of no use. The address of a service manager's socket is its own affair.
"""

import fcntl
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from skep.base.errors import ListenError

KEYS = frozenset({"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
LOCK = "lock"
_FIRST = 3
# Above whatever may be open at the place where a descriptor has to go.
_ASIDE = 64


@dataclass(frozen=True)
class Inherited:
    """A bound socket and the address it was asked for: host and port, or `unix:PATH` and 0; None
    when a service manager chose it."""

    sock: socket.socket
    asked: tuple[str, int] | None = None

    def fits(self, host: str, port: int) -> bool:
        """Whether it is what is wanted now."""
        return self.asked is None or self.asked == (host, port)


@dataclass(frozen=True)
class Inheritance:
    """What there is: listeners by name, and the descriptor that holds the data directory's lock."""

    listeners: Mapping[str, Inherited]
    lock: int | None = None


def take(environment: MutableMapping[str, str]) -> Inheritance:
    """Return what this process was handed and remove every trace of it from the environment.

    Raises ListenError when one of them is not a listening stream socket.
    """
    values = {key: environment.pop(key, "") for key in KEYS}
    if values["LISTEN_PID"] != str(os.getpid()):
        return Inheritance({})
    count = int(values["LISTEN_FDS"] or 0)
    names = (values["LISTEN_FDNAMES"].split(":") if values["LISTEN_FDNAMES"] else []) + [""] * count
    listeners: dict[str, Inherited] = {}
    lock = None
    for descriptor, name in zip(range(_FIRST, _FIRST + count), names, strict=False):
        os.set_inheritable(descriptor, False)
        if name == LOCK:
            lock = descriptor
        else:
            name, _, asked = name.partition("@")
            # What is not named is called after its unit.
            known = "http" if name in ("", "unknown") or name.endswith(".socket") else name
            sock = socket.socket(fileno=descriptor) if asked else _listener(descriptor, known)
            sock.setblocking(False)
            listeners[known] = Inherited(sock, _address(asked))
    return Inheritance(listeners, lock)


def hand_down(inheritance: Inheritance) -> dict[str, str]:
    """Put the descriptors where the program that this process becomes will look for them; return
    what has to be in its environment.

    Nothing else of this process may run afterwards: whatever was open there is closed.
    """
    named = {
        _name(name, inherited): inherited.sock.fileno()
        for name, inherited in inheritance.listeners.items()
    }
    if inheritance.lock is not None:
        named[LOCK] = inheritance.lock
    above = max(_ASIDE, _FIRST + len(named))
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in named.values()]
    for place, descriptor in enumerate(aside, _FIRST):
        os.dup2(descriptor, place, inheritable=True)
    return {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(named)),
        "LISTEN_FDNAMES": ":".join(named),
    }


def _name(name: str, inherited: Inherited) -> str:
    if inherited.asked is None:
        return name
    host, port = inherited.asked
    return f"{name}@{quote(host, safe='')}@{port}"


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.partition("@")
    return (unquote(host), int(port)) if port else None


def _listener(descriptor: int, name: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(_useless(descriptor, name)) from error
    if not listens or sock.type != socket.SOCK_STREAM:
        raise ListenError(_useless(descriptor, name))
    return sock


def _useless(descriptor: int, name: str) -> str:
    return (
        f"Descriptor {descriptor} ({name}), passed by the service manager, is not a listening "
        "stream socket: see ListenStream= and FileDescriptorName= of the socket unit."
    )
