"""What happens to the entries of a directory, as the kernel reports it: no moment is missed."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Self

_ATTRIB, _CREATE = 0x4, 0x100
_WORDS = {_ATTRIB: "changed", _CREATE: "created"}
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watched:
    """A directory that is watched between `with` and its end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        self._queue = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        path = os.fsencode(self._directory)
        assert _libc.inotify_add_watch(self._queue, path, _ATTRIB | _CREATE) > 0
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._queue)

    def events(self) -> list[tuple[str, str]]:
        """Return what has happened since the last call: an entry's name, and `created`, or
        `changed` for its mode, owner or links."""
        try:
            data = os.read(self._queue, 1024 * 1024)
        except BlockingIOError:
            return []
        found = []
        while data:
            _, mask, _, size = _EVENT.unpack_from(data)
            name = data[_EVENT.size : _EVENT.size + size].rstrip(b"\0").decode()
            found += [(name, word) for bit, word in _WORDS.items() if mask & bit]
            data = data[_EVENT.size + size :]
        return found
