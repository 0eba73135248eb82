"""Replace a file in one step: a reader sees the old content or the new one, never a part."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

_MARK = ".tmp-"


def prepare(target: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> Path:
    """Write the data to a new temporary file next to `target`; return its path.

    It is created with its final mode, so that no other user can read or plant it. `durable` waits
    until the content is on the disk. Raises OSError, and then leaves no file.
    """
    temporary = target.with_name(f"{target.name}{_MARK}{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask took away
            file.write(data)
            if durable:
                file.flush()
                os.fsync(descriptor)
    except BaseException:
        discard(temporary)
        raise
    return temporary


def swap(temporary: Path, target: Path, *, durable: bool = True) -> None:
    """Replace `target` by the temporary file; `durable` survives a power cut.

    Raises OSError (EBUSY if the target is a mount point), and then leaves both files unchanged.
    """
    os.replace(temporary, target)
    if durable:
        sync(target.parent)


def sync(directory: Path) -> None:
    """Wait until the names in a directory are on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(target: Path, data: bytes, *, durable: bool = True) -> None:
    """Make the data the content of `target`, readable by its owner alone. Raises OSError."""
    temporary = prepare(target, data, durable=durable)
    try:
        swap(temporary, target, durable=durable)
    except BaseException:
        discard(temporary)
        raise


def discard(temporary: Path) -> None:
    """Remove a temporary file if it is still there."""
    with suppress(OSError):
        temporary.unlink()


def sweep(directory: Path, name: str = "") -> None:
    """Remove temporary files of killed processes, for one target or all of the directory. Call it
    only where no other process writes."""
    with suppress(OSError):
        for entry in os.listdir(directory):
            head, mark, _ = entry.rpartition(_MARK)
            if mark and (not name or head == name):
                discard(directory / entry)
