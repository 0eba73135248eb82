"""The token for writing to the config server, in a file that only its owner can read."""

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
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise ConfigError(
            f"The config server's token {path} cannot be read or made: {error.strerror}."
        ) from error


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        # Check the open file, not the path, which may be replaced in between.
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"The config server's token {path} may be read by others (mode {mode:04o}): "
                "delete it, and a new one is made; or, if no other user has seen it, run "
                "`chmod 600` on it."
            )
        token = file.read().strip()
    if not (token.isascii() and token.isprintable()) or not token or " " in token:
        raise ConfigError(
            f"{path} holds no token (a line of ASCII without spaces): delete it, "
            "and a new one is made."
        )
    return token


def _make(path: Path) -> None:
    """Write a new token to a temporary file and link it, so that the file is never empty, even
    after a crash; linking, unlike renaming, fails if another process was faster."""
    draft = atomic.prepare(path, f"{secrets.token_urlsafe(32)}\n".encode())
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    atomic.sync(path.parent)
