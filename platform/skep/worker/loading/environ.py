"""`os.environ` of a worker: it remembers which keys were read.

A plugin, a library or a client may read a key that no Settings class declares. When such a key
changes, a worker that has never read it can take the new value; one that has may hold the old value
anywhere, and must be replaced.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

# What the interpreter, the dynamic linker and the libraries in C read unseen, before any code of
# ours runs: the time zone and the locale too.
_READ_EARLY = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "TZ", "LANG", "LC_", "OPENSSL_")


class Environ(os._Environ[str]):
    """The environment, over the same storage as the one it replaces."""

    def __init__(self, old: "os._Environ[str]") -> None:
        super().__init__(
            old._data,  # type: ignore[attr-defined]
            old.encodekey,
            old.decodekey,
            old.encodevalue,
            old.decodevalue,
        )
        self._read: set[str] = set()
        self._read_all = False

    def __getitem__(self, key: str) -> str:
        self._read.add(key.upper())
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        self._read_all = True
        return super().__iter__()

    def was_read(self, key: str) -> bool:
        """Return whether any code may know the value of this key."""
        return self._read_all or key.upper() in self._read or key.startswith(_READ_EARLY)

    def snapshot(self) -> dict[str, str]:
        """Return everything, without marking it as read."""
        before = self._read_all, set(self._read)
        everything = dict(self.items())
        self._read_all, self._read = before
        return everything

    def change(self, values: Mapping[str, str | None]) -> None:
        """Set keys for this process and those it starts; None removes one."""
        for key, value in values.items():
            if value is not None:
                self[key] = value
            elif key in self.snapshot():
                del self[key]


def install() -> Environ:
    """Replace `os.environ` by an `Environ`; return it."""
    if not isinstance(os.environ, Environ):
        os.environ = Environ(os.environ)  # noqa: B003 - over the same storage
    environ: Any = os.environ
    assert isinstance(environ, Environ)
    return environ
