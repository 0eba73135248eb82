"""What is sent: a head, a context and a body, and descriptors beside it.

    head      magic, kind, flags, length of the context, length of the body
    context   the request that the sender works for: "request_id=…", "traceparent=…", a line each
    body      bytes, whatever they mean; above INLINE they are in a file in memory

A message that wants replies comes with a descriptor, the end of a socket pair on which to send
them. The death of its holder closes it, which is how the caller learns of that. A body in memory
comes in a sealed file, so that its sender cannot change or shorten it while it is read.
"""

import array
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

# Bytes. A longer body goes into memory that sender and receiver share: the kernel would need a
# block of that size for a packet, and a few such packets would fill the sender's buffer.
INLINE = 32 * 1024
_MAGIC = b"skp1"
_HEAD = struct.Struct("!4sBBHI")
_LONGEST_CONTEXT = 512
_RECEIVE = _HEAD.size + _LONGEST_CONTEXT + INLINE
_IN_MEMORY = 1
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
# One descriptor more than a frame may have, so that one with too many is recognized.
_ANCILLARY = socket.CMSG_LEN(3 * array.array("i").itemsize)


class Kind(IntEnum):
    """What a frame is: to an inbox the first three, back to the caller the others."""

    SEND = 1
    REQUEST = 2
    STREAM = 3
    PART = 4
    REPLY = 5
    END = 6
    FAILURE = 7


TO_AN_INBOX = {kind.value: kind for kind in (Kind.SEND, Kind.REQUEST, Kind.STREAM)}
TO_A_CALLER = {kind.value: kind for kind in Kind if kind.value not in TO_AN_INBOX}


class MalformedFrame(Exception):
    """What came is not a frame of ours; its descriptors are closed."""


@dataclass(frozen=True, slots=True)
class ReceivedFrame:
    """What was received. `length` is that of the body, which is empty if it was longer than the
    receiver takes. `replies` is the end on which the sender waits for replies."""

    kind: Kind
    body: bytes
    length: int
    context: bytes = b""
    replies: socket.socket | None = None


class OutgoingFrame:
    """A frame to send; `close` frees the memory of its body."""

    def __init__(self, kind: Kind, body: bytes = b"", context: bytes = b"") -> None:
        context = context if len(context) <= _LONGEST_CONTEXT else b""
        self._memory = _in_memory(body) if len(body) > INLINE else None
        flags = 0 if self._memory is None else _IN_MEMORY
        head = _HEAD.pack(_MAGIC, kind, flags, len(context), len(body))
        self._data = [head + context, body if self._memory is None else b""]

    def try_send(self, sock: socket.socket, replies: socket.socket | None = None) -> bool:
        """Send it, or return False if the kernel does not take it now. Raises OSError."""
        passed = [] if replies is None else [replies.fileno()]
        if self._memory is not None:
            passed.append(self._memory)
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))]
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        try:
            sock.sendmsg(self._data, beside if passed else [], flags)
        except (BlockingIOError, InterruptedError):
            return False
        return True

    def close(self) -> None:
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None


def receive(sock: socket.socket, largest: int, kinds: Mapping[int, Kind]) -> ReceivedFrame:
    """Return the next frame of one of these kinds; of a body with more than `largest` bytes the
    length only.

    Raises BlockingIOError when nothing is there now, EOFError at the end of a connection,
    MalformedFrame, and OSError.
    """
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    data, beside, found, _ = sock.recvmsg(_RECEIVE, _ANCILLARY, flags)
    descriptors = _descriptors(beside)
    try:
        if not data and not descriptors and sock.type == socket.SOCK_SEQPACKET:
            raise EOFError
        if found & socket.MSG_TRUNC:
            raise MalformedFrame("it is too long")
        if found & socket.MSG_CTRUNC:  # more than three, or none is free in this process
            raise MalformedFrame("not all of its descriptors could be received")
        return _unpacked(data, descriptors, largest, kinds)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptors(beside: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in beside:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _unpacked(
    data: bytes, descriptors: list[int], largest: int, kinds: Mapping[int, Kind]
) -> ReceivedFrame:
    """Return the frame; take from `descriptors` what goes on to be used."""
    if len(data) < _HEAD.size:
        raise MalformedFrame("it has no head")
    magic, number, flags, context_length, length = _HEAD.unpack_from(data)
    kind = kinds.get(number)
    if magic != _MAGIC or kind is None or flags & ~_IN_MEMORY:
        raise MalformedFrame("it has an unknown head")
    start = _HEAD.size + context_length
    wants_replies = kind in (Kind.REQUEST, Kind.STREAM)
    if len(descriptors) != wants_replies + bool(flags & _IN_MEMORY):
        raise MalformedFrame(f"it comes with {len(descriptors)} descriptors")
    if length > largest:
        body = b""
    elif flags & _IN_MEMORY:
        body = _read(descriptors[-1], length)
    elif len(data) == start + length:
        body = data[start:]
    else:
        raise MalformedFrame("its body is not as long as its head says")
    replies = _reply_end(descriptors) if wants_replies else None
    return ReceivedFrame(kind, body, length, data[_HEAD.size : start], replies)


def _reply_end(descriptors: list[int]) -> socket.socket:
    try:
        end = socket.socket(fileno=descriptors[0])
    except OSError as error:
        raise MalformedFrame("it comes with a descriptor that is not a socket") from error
    del descriptors[0]
    if end.family != socket.AF_UNIX or end.type != socket.SOCK_SEQPACKET:
        end.close()
        raise MalformedFrame("it comes with a socket of another kind")
    return end


def _in_memory(body: bytes) -> int:
    memory = os.memfd_create("skep-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[os.write(memory, rest) :]
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(memory)
        raise
    return memory


def _read(memory: int, length: int) -> bytes:
    # Only files in memory have seals: to read another one could block, or never end.
    with suppress(OSError):
        is_sealed = fcntl.fcntl(memory, fcntl.F_GET_SEALS) & _SEALS == _SEALS
        if is_sealed and os.fstat(memory).st_size == length:
            return os.pread(memory, length, 0)
    raise MalformedFrame("its body is not a sealed file of that length")
