"""Listening sockets: what both sides of a process border have to agree on, and what the standard
library does not reach."""

import ctypes
import select
import socket
import struct
import sys
from contextlib import suppress

# Every `listen` on a shared socket sets its queue again: it is as long as the newest workers say,
# and this long before there are any.
BACKLOG = 2048

# Of Linux, asm-generic/socket.h.
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
# Classic BPF (linux/filter.h) over a segment, which begins with the header of TCP: drop it if the
# flag SYN is set in byte 13, take it otherwise.
_NO_NEWCOMERS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # ldb [13]
        (0x45, 0, 1, 0x02),  # jset #2: go on, else skip one
        (0x06, 0, 0, 0),  # ret #0
        (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
    )
)


def turn_away(listener: socket.socket) -> None:
    """Accept no new connection on this TCP socket, in any process that shares it.

    What has begun goes on. To a newcomer it looks as if its first packet was lost: it sends another
    a second later, and is refused if the socket is closed by then. Without this, a client that
    comes between the last `accept` and the `close` is connected and then reset. Nothing happens on
    other systems than Linux.
    """
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(_NO_NEWCOMERS)
        length = len(_NO_NEWCOMERS) // 8
        described = struct.pack("HP", length, ctypes.addressof(program))
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def let_in(listener: socket.socket) -> None:
    """Undo `turn_away`."""
    if sys.platform == "linux":
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def is_readable(sock: socket.socket) -> bool:
    """Return whether a connection waits to be accepted, or data or the end to be received."""
    poll = select.poll()  # not `select.select`, which takes no descriptor above 1023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
