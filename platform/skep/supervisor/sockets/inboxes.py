"""The inboxes of custom processes: bound once by the supervisor, which never reads from them.

What waits in an inbox is the kernel's and belongs to the socket. So a message that no process has
read yet lives through crashes and rollouts, and through a restart of the supervisor, which hands
the sockets down.
"""

import logging
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from skep.base.errors import ListenError
from skep.base.sockets.listening import is_readable
from skep.messaging.address import InboxAddress
from skep.supervisor.sockets.inheritance import Inherited

log = logging.getLogger("skep")

_PREFIX = "inbox."


class Inboxes:
    """The inboxes in `folder` by the name of their processes, and which generation wants which.

    `inherited` are those from before a restart, as `inheritable` has returned them.
    """

    def __init__(self, folder: Path, inherited: Mapping[str, Inherited]) -> None:
        self._folder = folder
        self._inherited = {
            name.removeprefix(_PREFIX): found.sock for name, found in inherited.items()
        }
        self._sockets: dict[str, socket.socket] = {}
        self._wanted: dict[int, frozenset[str]] = {}

    def open(self, names: Iterable[str], generation: int) -> None:
        """Bind the inboxes that a generation wants and that are not bound yet.

        Raises ListenError; nothing new is bound then.
        """
        wanted, bound = frozenset(names), []
        if not self._wanted:
            self._sweep()
        try:
            for name in sorted(wanted - self._sockets.keys()):
                self._sockets[name] = self._adopted(name) or InboxAddress(self._folder, name).bind()
                bound.append(name)
        except OSError as error:
            for one in bound:
                self._close(one)
            raise ListenError(
                f"The inbox of the process {name} cannot be made in {self._folder} "
                f"({error.strerror}): make that a directory of the user who runs the platform, "
                "with room, or give another with --data-dir."
            ) from error
        self._wanted[generation] = wanted

    def of(self, slot: str) -> list[str]:
        """Return the name of the inbox that a slot (`process.ticker.Echo.0`) has, if it has one."""
        name = slot.partition(".")[2].rpartition(".")[0]
        return [name] if name in self._sockets else []

    def descriptors(self, names: Iterable[str]) -> list[int]:
        """Return the descriptors of these inboxes, in the same order."""
        return [self._sockets[name].fileno() for name in names]

    def release(self, generations: Iterable[int]) -> None:
        """Close what none of these generations wants."""
        kept = self._wanted.keys() & set(generations)
        self._wanted = {number: self._wanted[number] for number in kept}
        wanted = frozenset().union(*self._wanted.values())
        if self._wanted:  # what is inherited is for the first generation
            self._sockets |= self._inherited
            self._inherited = {}
        for name in self._sockets.keys() - wanted:
            if is_readable(self._sockets[name]):
                log.warning(
                    "messages to %s are dropped: no generation has a process of that name any "
                    "more, and none has read them",
                    name,
                )
            self._close(name)

    def inheritable(self) -> dict[str, Inherited]:
        """Return the sockets that the next supervisor is to inherit."""
        return {
            f"{_PREFIX}{name}": Inherited(sock, (f"unix:{self._path(name)}", 0))
            for name, sock in self._sockets.items()
        }

    def close(self) -> None:
        """Close all, and what was inherited and is not used."""
        for name in list(self._sockets):
            self._close(name)
        for sock in self._inherited.values():
            sock.close()

    def _sweep(self) -> None:
        """Remove the files of a platform that was killed."""
        kept = {InboxAddress(self._folder, name).path.stem for name in self._inherited}
        for path in self._folder.glob("*"):
            if path.stem not in kept:
                with suppress(OSError):
                    path.unlink()

    def _path(self, name: str) -> Path:
        return InboxAddress(self._folder, name).path

    def _adopted(self, name: str) -> socket.socket | None:
        """Return the socket from before a restart, if senders still find it."""
        sock = self._inherited.pop(name, None)
        if sock is None:
            return None
        path = self._path(name)
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_DGRAM and path.is_socket():
            return sock
        sock.close()
        return None

    def _close(self, name: str) -> None:
        self._sockets.pop(name).close()
        InboxAddress(self._folder, name).remove()


def divided(
    inherited: Mapping[str, Inherited],
) -> tuple[dict[str, Inherited], dict[str, Inherited]]:
    """Return what is inherited of listeners, and of inboxes."""
    inboxes = {name: one for name, one in inherited.items() if name.startswith(_PREFIX)}
    return {name: one for name, one in inherited.items() if name not in inboxes}, inboxes
