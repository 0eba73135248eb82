"""Name one state of files by digests: of the plugins' code by one for all of it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

IGNORED_DIRECTORIES = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv"})
_IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", ".swx", ".tmp", "~")
# Beyond this a file is data, not code: its size and time stand for its content.
_LARGEST_READ = 4 * 1024 * 1024


def counts(name: str) -> bool:
    """Say whether a file of this name is part of the code: no hidden, swap or compiled file."""
    return not name.startswith(".") and not name.endswith(_IGNORED_SUFFIXES)


def files(folder: Path) -> Iterator[Path]:
    """Yield every file below a plugin folder that is part of its code, in a fixed order.

    A link to a package is a package, as it is for who imports it; other links to directories may
    lead to anything, and are not followed.
    """
    seen = set()
    for directory, names, entries in os.walk(folder, followlinks=True):
        place = os.path.realpath(directory)
        names[:] = sorted(n for n in names if _is_walked(directory, n)) if place not in seen else []
        seen.add(place)
        for entry in sorted(entries):
            path = Path(directory, entry)
            if counts(entry) and path.is_file():  # whoever opens a FIFO waits
                yield path


def _is_walked(directory: str, name: str) -> bool:
    if name in IGNORED_DIRECTORIES or not counts(name):
        return False
    path = os.path.join(directory, name)
    return not os.path.islink(path) or os.path.isfile(os.path.join(path, "__init__.py"))


def digest(folders: Iterable[Path]) -> str:
    """Return the digest of all code in the folders; times and modes do not count.

    A file that vanishes while it is read counts as absent: the next look sees the truth.
    """
    total = hashlib.blake2b(digest_size=12)
    for folder in folders:
        for path in files(folder):
            try:
                stat = path.stat()
                content = (
                    path.read_bytes()
                    if stat.st_size <= _LARGEST_READ
                    else f"{stat.st_size} {stat.st_mtime_ns}".encode()
                )
            except OSError:
                continue
            name = os.fsencode(path.relative_to(folder))
            total.update(len(name).to_bytes(4, "big") + name)
            total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def contents(paths: Iterable[str]) -> dict[str, str]:
    """Return the digest of each of these files; empty for one that cannot be read."""
    return {path: _content(path) for path in paths}


def _content(path: str) -> str:
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=12).hexdigest()
    except OSError:
        return ""
