"""The bound sockets: bound once by the supervisor, inherited by every generation.

The accept queue is the kernel's and belongs to the socket, not to a process: a connection that
waits in it while workers change is served by the next one. Hence one socket shared by all (no
SO_REUSEPORT: the queue of a worker that closes its own socket is reset), which the supervisor keeps
as long as a generation wants it and never accepts from. Datagrams wait in the same way.

What two generations want at the same address is one socket, whichever plugin wants it.
"""

import asyncio
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from skep.base.errors import ListenError
from skep.base.sockets.endpoint import Endpoint
from skep.base.sockets.listening import BACKLOG, is_readable, let_in, turn_away
from skep.supervisor.sockets.inheritance import Inherited

# A platform that was killed leaves workers which stop listening within this time (seconds).
_PREDECESSOR = 3.0
# Packets wait in the kernel while workers change; what the kernel takes less is its own limit.
_DATAGRAM_BUFFER = 8 * 1024 * 1024
_SO_RCVBUFFORCE = 33
# What moves a listener to another address, beside what moves it to another port.
_HOSTS = {"--port": "--host", "--admin-port": "--admin-host"}
# The platform slots have no generation.
PLATFORM = 0


class Listeners:
    """Bound sockets by their address, and which generation wants which under what name.

    `inherited` are bound already, by name, and are used when they fit.
    """

    def __init__(self, inherited: Mapping[str, Inherited] | None = None) -> None:
        self._inherited = dict(inherited or {})
        self._asked: dict[str, tuple[str, int] | None] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._wanted: dict[int, dict[str, Endpoint]] = {PLATFORM: {}}
        self._paths: dict[str, tuple[str, int]] = {}
        self._shut: set[str] = set()

    async def open(
        self, endpoints: Sequence[Endpoint], generation: int = PLATFORM, *, patient: bool = False
    ) -> None:
        """Bind what is not bound yet; port 0 takes a free one.

        A `patient` call gives the workers of a platform that was killed the time to let go of the
        port. Raises ListenError naming the address, who wants it and what to do; nothing new is
        bound then.
        """
        bound = []
        try:
            for endpoint in endpoints:
                self._reopen(endpoint.key)
                if endpoint.key not in self._sockets and not self._adopt(endpoint):
                    await self._bind(endpoint, patient)
                    bound.append(endpoint.key)
        except ListenError:
            for key in bound:
                self._close(key)
            raise
        self._wanted.setdefault(generation, {}).update({e.name: e for e in endpoints})

    def inheritable(self) -> dict[str, Inherited]:
        """Return what the next one is to inherit: all that the newest generation and the platform
        have bound to an address."""
        wanted = [self._wanted[number] for number in (PLATFORM, max(self._wanted))]
        return {
            name: Inherited(self._sockets[endpoint.key], self._asked[endpoint.key])
            for some in wanted
            for name, endpoint in some.items()
            if endpoint.key in self._asked
        }

    def add(self, name: str, listener: socket.socket) -> None:
        """Keep a socket of the platform that listens already."""
        endpoint = Endpoint(name, path=name, owner="the platform")
        self._sockets[endpoint.key] = listener
        self._wanted[PLATFORM][name] = endpoint

    def names(self, generation: int) -> list[str]:
        """Return what a generation wants."""
        return list(self._wanted.get(generation, {}))

    def descriptors(self, names: Iterable[str], generation: int = PLATFORM) -> list[int]:
        """Return the descriptors of these listeners, in the same order."""
        wanted = self._wanted[generation]
        return [self._sockets[wanted[name].key].fileno() for name in names]

    def shut(self, generations: Iterable[int]) -> bool:
        """Let no connection begin where none of these generations listens, nor the platform; say
        whether there is such a place.

        It can be had for TCP only, and not for the sockets of a service manager: it listens on.
        """
        keys = {key for key in self._unwanted(generations) if self._asked.get(key)}
        shut = {key for key in keys if _is_tcp(self._sockets[key])}
        for key in shut - self._shut:
            turn_away(self._sockets[key])
        self._shut |= shut
        return bool(shut)

    @property
    def waited_at(self) -> bool:
        """Whether anybody who came before `shut` has not been accepted yet."""
        return any(is_readable(self._sockets[key]) for key in self._shut)

    def release(self, generations: Iterable[int]) -> None:
        """Close what none of these generations wants, nor the platform."""
        kept = {PLATFORM, *generations}
        for key in self._unwanted(kept):
            self._close(key)
        self._wanted = {number: self._wanted[number] for number in kept & self._wanted.keys()}

    def port(self, name: str, generation: int = PLATFORM) -> int:
        """Return the port on which a listener listens."""
        key = self._wanted[generation][name].key
        return int(self._sockets[key].getsockname()[1])

    def urls(self, generation: int) -> dict[str, str]:
        """Return the address of each listener of this generation and of the platform, for
        people."""
        wanted = self._wanted[PLATFORM] | self._wanted.get(generation, {})
        return {n: _url(e, self._sockets[e.key]) for n, e in wanted.items() if e.path != n}

    def close(self) -> None:
        """Stop listening."""
        for key in list(self._sockets):
            self._close(key)
        self._wanted = {PLATFORM: {}}

    def _unwanted(self, generations: Iterable[int]) -> set[str]:
        wanted = [self._wanted.get(number, {}) for number in {PLATFORM, *generations}]
        return self._sockets.keys() - {e.key for some in wanted for e in some.values()}

    def _reopen(self, key: str) -> None:
        if key in self._shut:
            self._shut.remove(key)
            let_in(self._sockets[key])

    def _adopt(self, endpoint: Endpoint) -> bool:
        inherited = self._inherited.pop(endpoint.name, None)
        if inherited is None:
            return False
        same = inherited.sock.type == _kind(endpoint)
        if not same or not inherited.fits(*_asked(endpoint)) or not _is_there(endpoint):
            inherited.sock.close()
            return False
        if inherited.sock.type == socket.SOCK_STREAM:
            inherited.sock.listen(BACKLOG)
        self._keep(endpoint, inherited)
        if inherited.asked is not None and endpoint.path:
            _share(endpoint)
        return True

    def _keep(self, endpoint: Endpoint, bound: Inherited) -> None:
        self._sockets[endpoint.key], self._asked[endpoint.key] = bound.sock, bound.asked
        if bound.asked is not None and endpoint.path:
            self._paths[endpoint.key] = endpoint.path, os.stat(endpoint.path).st_ino

    async def _bind(self, endpoint: Endpoint, patient: bool) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (_PREDECESSOR if patient else 0.0)
        while True:
            try:
                self._keep(endpoint, Inherited(_bound(endpoint), _asked(endpoint)))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or loop.time() >= deadline:
                    ours = [e for wanted in self._wanted.values() for e in wanted.values()]
                    raise ListenError(_explain(endpoint, error, ours)) from error
            await asyncio.sleep(0.02)

    def _close(self, key: str) -> None:
        self._sockets.pop(key).close()
        self._asked.pop(key, None)
        self._shut.discard(key)
        path, inode = self._paths.pop(key, ("", 0))
        with suppress(OSError):
            if path and os.stat(path).st_ino == inode:
                os.unlink(path)


def claim(endpoint: Endpoint) -> Inherited:
    """Bind an address ahead of time, while that is still allowed. Raises ListenError."""
    try:
        return Inherited(_bound(endpoint), _asked(endpoint))
    except OSError as error:
        raise ListenError(_explain(endpoint, error)) from error


def _bound(endpoint: Endpoint) -> socket.socket:
    if endpoint.path:
        return _bound_unix(endpoint)
    kind = _kind(endpoint)
    family, _, _, _, address = socket.getaddrinfo(
        endpoint.host, endpoint.port, type=kind, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _enlarge(listener)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _asked(endpoint: Endpoint) -> tuple[str, int]:
    return (endpoint.address, 0) if endpoint.path else (endpoint.host, endpoint.port)


def _is_there(endpoint: Endpoint) -> bool:
    """Whether clients find the socket: it may have been removed or replaced by a file."""
    with suppress(OSError):
        return not endpoint.path or stat.S_ISSOCK(os.stat(endpoint.path).st_mode)
    return False


def _is_tcp(sock: socket.socket) -> bool:
    return sock.family != socket.AF_UNIX and sock.type == socket.SOCK_STREAM


def _kind(endpoint: Endpoint) -> socket.SocketKind:
    return socket.SOCK_DGRAM if endpoint.transport == "udp" else socket.SOCK_STREAM


def _enlarge(listener: socket.socket) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER)
    with suppress(OSError):  # beyond the system's limit only with the privilege to do so
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _DATAGRAM_BUFFER)


def _bound_unix(endpoint: Endpoint) -> socket.socket:
    """Listen on a unix socket; a stale one gives way, a live one not."""
    _remove_stale(endpoint.path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)  # at no moment may others connect than at the end
    try:
        listener.bind(endpoint.path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(old)
    try:
        _share(endpoint)
    except ListenError:
        listener.close()
        os.unlink(endpoint.path)
        raise
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _share(endpoint: Endpoint) -> None:
    try:
        if endpoint.group:
            gid = int(endpoint.group) if endpoint.group.isdecimal() else _gid(endpoint.group)
            os.chown(endpoint.path, -1, gid, follow_symlinks=False)
        if stat.S_ISSOCK(os.lstat(endpoint.path).st_mode):
            os.chmod(endpoint.path, endpoint.mode)
    except OSError as error:
        text = (
            f"{_what(endpoint)} cannot be given the group {endpoint.group or 'it has'} and the "
            f"mode {endpoint.mode:o} ({error.strerror}): see --uds-group and --uds-mode. A user "
            "other than root can give a file only to a group that it is in."
        )
        raise ListenError(text) from error


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ListenError(f"The group {group!r} does not exist: see --uds-group.") from None


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe,
        suppress(ConnectionRefusedError),
    ):
        probe.connect(path)
        return
    os.unlink(path)


def _url(endpoint: Endpoint, listener: socket.socket) -> str:
    if endpoint.path:
        return endpoint.address
    if listener.family == socket.AF_UNIX:  # of a service manager
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{endpoint.scheme}://{shown}:{port}"


def _what(endpoint: Endpoint) -> str:
    if endpoint.path:
        what = f"The unix socket {endpoint.path}"
    else:
        udp = "UDP port" if endpoint.transport == "udp" else "Port"
        what = f"{udp} {endpoint.port} on {endpoint.host}"
    plugin = endpoint.owner != "the platform"
    return f"{what}, which {endpoint.owner} wants for {endpoint.name}," if plugin else what


def _explain(endpoint: Endpoint, error: OSError, ours: Iterable[Endpoint] = ()) -> str:
    what, remedy = _what(endpoint), endpoint.remedy
    holder = next((other for other in ours if other.clashes(endpoint)), None)
    match error.errno:
        case errno.EADDRINUSE if holder is not None:
            place = f"{holder.owner} ({holder.name} at {holder.address})"
            return f"{what} is in use by {place}: choose another with {remedy}."
        case errno.EADDRINUSE:
            return f"{what} is in use by another program: choose one with {remedy}."
        case errno.EACCES if endpoint.path:
            return f"{what} may not be made there: choose another path with {remedy}."
        case errno.EACCES:
            return f"{what} needs privileges: choose one above 1023 with {remedy}."
        case errno.EADDRNOTAVAIL:
            host = _HOSTS.get(remedy, remedy)
            return f"{endpoint.host} is not an address of this machine: choose another with {host}."
        case _:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            see = f"{_HOSTS[remedy]} and {remedy}" if remedy in _HOSTS else remedy
            return f"{what} cannot be listened on ({why}): see {see}."
