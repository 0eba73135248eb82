"""Which files of the code the platform's own processes write, while the code is watched.

A plugin may keep a cache, a database or a generated module beside itself. If that counted as a
change of the code, each generation would cause the next. So a process that loads plugins notes what
it writes, before it does, in a file that the code watch and the zygotes read: what is in it is
data.
"""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Audit events of the interpreter, and which of their arguments is the path that changes.
_CHANGES = {"os.rename": 1, "os.remove": 0, "os.truncate": 0, "sqlite3.connect": 0}
# The interpreter's own.
_CACHE = f"{os.sep}__pycache__{os.sep}"


def note(folders: Iterable[Path], file: Path) -> None:
    """Note from now on, in this process and those that it forks, what is written below these
    folders, but not what is beside `file`. It cannot be undone: a hook of the interpreter stays."""
    roots = tuple(os.path.realpath(folder) + os.sep for folder in folders)
    apart = os.path.realpath(file.parent) + os.sep, _CACHE
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    noted: set[str] = set()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _CHANGES:
            return
        # An error here must not become the plugin's exception.
        with suppress(OSError, ValueError):
            where = _written(event, arguments)
            if where.startswith(roots) and where not in noted and not any(map(where.count, apart)):
                noted.add(where)
                os.write(descriptor, os.fsencode(where) + b"\0")

    sys.addaudithook(hook)


def read(file: Path) -> frozenset[str]:
    """Return the paths that were noted, where links lead to."""
    try:
        return frozenset(map(os.fsdecode, file.read_bytes().split(b"\0")))
    except OSError:
        return frozenset()


def _written(event: str, arguments: tuple[Any, ...]) -> str:
    """Return the path that an event of the interpreter is about to change, or nothing."""
    path = arguments[_CHANGES.get(event, 0)]
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
        return ""
    if not isinstance(path, str | bytes | os.PathLike):
        return ""  # a file descriptor
    return os.path.realpath(os.fsdecode(path))
