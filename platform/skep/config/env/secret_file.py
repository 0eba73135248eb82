"""The secrets of the config server, in files that only their owner can read."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from skep.base.errors import ConfigError
from skep.config.env import atomic


def read_or_make_token(path: Path) -> str:
    """Return the token in the file, or make both; concurrent processes get the same.

    Raises ConfigError, naming the file, if others may read it, if it holds no token, or if it
    cannot be read or made.
    """
    lines = _read_or_make(path, "token")
    if len(lines) != 1:
        raise ConfigError(
            f"{path} holds no token (a line of ASCII without spaces): delete it, "
            "and a new one is made."
        )
    return lines[0]


def read_or_make_keys(path: Path) -> list[str]:
    """Return the access keys in the file, one a line, or make one; raises as for a token."""
    return _read_or_make(path, "access key")


def make_key(path: Path) -> None:
    """Make a file with an access key unless it exists. Raises ConfigError if that fails."""
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise ConfigError(
            f"The config server's access key {path} cannot be made: {error.strerror}."
        ) from error


def _read_or_make(path: Path, what: str) -> list[str]:
    try:
        if not path.exists():
            _make(path)
        return _read(path, what)
    except OSError as error:
        raise ConfigError(
            f"The config server's {what} {path} cannot be read or made: {error.strerror}."
        ) from error


def _read(path: Path, what: str) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        # Check the open file, not the path, which may be replaced in between.
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"The config server's {what} {path} may be read by others (mode {mode:04o}): "
                "delete it, and a new one is made; or, if no other user has seen it, run "
                "`chmod 600` on it."
            )
        lines = [line.strip() for line in file.read().splitlines() if line.strip()]
    usable = all(line.isascii() and line.isprintable() and " " not in line for line in lines)
    if not lines or not usable:
        raise ConfigError(
            f"{path} holds no {what} (a line of ASCII without spaces): delete it, "
            "and a new one is made."
        )
    return lines


def _make(path: Path) -> None:
    """Write a new secret to a temporary file and link it, so that the file is never empty, even
    after a crash; linking, unlike renaming, fails if another process was faster."""
    draft = atomic.prepare(path, f"{secrets.token_urlsafe(32)}\n".encode())
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    atomic.sync(path.parent)
