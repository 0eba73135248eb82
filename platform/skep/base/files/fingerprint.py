"""Name one state of files by digests: of the platform's code by one for all of it."""

import hashlib
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

IGNORED_DIRECTORIES = frozenset({"__pycache__", "node_modules", ".git", ".venv", "venv"})
_IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", ".swx", ".tmp", "~")
# Beyond this a file is data, not code: its size and time stand for its content.
_LARGEST_READ = 4 * 1024 * 1024
# What of a project is code that a plugin may import, if no types are given.
_OF_PROJECTS = (".py",)

# The state of each file by its path: its name for the digest, and the digest of its content.
States = dict[str, tuple[bytes, bytes]]


def counts(name: str) -> bool:
    """Return whether a file of this name is part of the code: no hidden, swap or compiled file."""
    return not name.startswith(".") and not name.endswith(_IGNORED_SUFFIXES)


@dataclass(frozen=True)
class Sources:
    """Where the code lies.

    In `folders` every file is part of it, or those of `types` (suffixes like `.py`) if there are
    any; below the folder `project` only Python files, or those of `types`. `exclude` are patterns
    of names, of paths relative to a folder, or of absolute paths, for files and directories.
    """

    folders: tuple[Path, ...]
    project: Path | None = None
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def files(self, folder: Path) -> Iterator[Path]:
        """Yield every file below one of the folders that is part of the code, in a fixed order."""
        types = (self.types or _OF_PROJECTS) if folder == self.project else self.types
        for directory, names in self._walk(folder):
            for name in names:
                path = Path(directory, name)
                if types and not name.endswith(types):
                    continue
                # Opening a FIFO would wait.
                if counts(name) and not self._is_excluded(path, folder) and path.is_file():
                    yield path

    def directories(self) -> set[Path]:
        """Return every directory that may hold a part of the code, where links lead to."""
        return {
            Path(directory).resolve()
            for folder in self.roots()
            for directory, _ in self._walk(folder)
        }

    def may_be_code(self, path: str) -> bool:
        """Return whether a path in one of the directories may be code or hold any: most of what is
        written in a project need not be looked at."""
        name, types = os.path.basename(path), self.types
        if not counts(name) or name in IGNORED_DIRECTORIES:
            return False
        if self.project is not None and not types:
            where = os.path.realpath(path)
            folders = [os.path.realpath(folder) + os.sep for folder in self.folders]
            in_project = where.startswith(os.path.realpath(self.project) + os.sep)
            types = _OF_PROJECTS if in_project and not where.startswith(tuple(folders)) else ()
        return not types or name.endswith(types) or os.path.isdir(path)

    def states(self) -> States:
        """Return the state of every file; times and modes do not count.

        A file that vanishes while it is read counts as absent: the next look sees the truth.
        """
        found = {}
        for folder in self.roots():
            for path in self.files(folder):
                if (content := _content_of(path)) is not None:
                    found[str(path)] = os.fsencode(path.relative_to(folder)), content
        return found

    def roots(self) -> Iterator[Path]:
        """Yield the folders, and the project if it is not one of them."""
        yield from self.folders
        if self.project is not None and self.project not in self.folders:
            yield self.project

    def _walk(self, folder: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield each directory with the names of its other entries, in a fixed order.

        A link to a package is a package, as it is for who imports it; other links to directories
        may lead to anything, and are not followed.
        """
        seen = set()
        others = {other.resolve() for other in self.folders} if folder == self.project else set()
        for directory, names, entries in os.walk(folder, followlinks=True):
            place = os.path.realpath(directory)
            names[:] = sorted(
                name
                for name in names
                if place not in seen
                and _is_walked(directory, name)
                and not self._is_excluded(Path(directory, name), folder)
                and Path(directory, name).resolve() not in others
            )
            seen.add(place)
            yield directory, sorted(entries)

    def _is_excluded(self, path: Path, folder: Path) -> bool:
        if not self.exclude:
            return False
        spellings = (path.name, path.relative_to(folder).as_posix(), str(path), str(path.resolve()))
        return any(fnmatch(text, pattern) for text in spellings for pattern in self.exclude)


def digest(states: States, without: Container[str] = ()) -> str:
    """Return one name for the states of all files, but those `without` (where links lead to)."""
    total = hashlib.blake2b(digest_size=12)
    for path, (name, content) in states.items():
        if not without or os.path.realpath(path) not in without:
            total.update(len(name).to_bytes(4, "big") + name + content)
    return total.hexdigest()


def _is_walked(directory: str, name: str) -> bool:
    path = os.path.join(directory, name)
    if name in IGNORED_DIRECTORIES or not counts(name):
        return False
    if os.path.isfile(os.path.join(path, "pyvenv.cfg")):  # a virtual environment
        return False
    return not os.path.islink(path) or os.path.isfile(os.path.join(path, "__init__.py"))


def _content_of(path: Path) -> bytes | None:
    try:
        stat = path.stat()
        if stat.st_size > _LARGEST_READ:
            text = f"{stat.st_size} {stat.st_mtime_ns}".encode()
        else:
            text = path.read_bytes()
    except OSError:
        return None
    return hashlib.blake2b(text, digest_size=12).digest()


def contents(paths: Iterable[str]) -> dict[str, str]:
    """Return the digest of each of these files; empty for one that cannot be read."""
    return {path: (_content_of(Path(path)) or b"").hex() for path in paths}
