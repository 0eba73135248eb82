"""Opens the queue, whatever has happened to its file.

A damaged file is mended where it lies, by building its indexes again, if that is enough. If not,
what can be read of it is written to a new file, and the damaged one is moved aside. The new file is
complete and on the disk before it takes the name, so a crash on the way loses nothing.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from skep.base.errors import EngineError
from skep.engine.base import Row
from skep.engine.ids import now_ms
from skep.store import file, restoring, salvage
from skep.store.damage import Damage
from skep.store.rows import row_of

log = logging.getLogger(__name__)


def connect(path: Path, damaged: Callable[[Damage], None] = lambda _: None) -> sqlite3.Connection:
    """Open the database for writing, making it if it is not there, and mending it if need be.

    `damaged` is called with what was done about a damage. Raises EngineError when the file was
    written by a newer platform, or when the system does not let it be opened or mended.
    """
    if path == file.IN_MEMORY:
        return file.open_file(path)
    _finish_rewriting(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        damage = _repair(path, error)
    damaged(damage)
    return _open(path)


def rewrite(source: sqlite3.Connection, path: Path, why: str) -> Damage:
    """Write all that an open connection can still read to a new file, which takes the name.

    The connection is closed. Whatever lay under the name is moved aside. Raises sqlite3.Error or
    OSError when the new file cannot be written; the connection is open then, and nothing moved.
    """
    new = _new(path)
    _remove(new)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    with closing(file.open_file(new)) as target:
        target.execute(restoring.TABLE)
        kept, corrupt = salvage.copy(source, target)
        target.execute(restoring.CLAIM_ALL)
    _force_down(new)
    aside = file.move_aside(path)
    source.close()  # before there is a new log under the name of the one that it deletes
    new.rename(path)
    _force_down(path.parent)
    rest = f"; {_corrupt(corrupt)}" if corrupt else ""
    where = f" What lay under its name is {aside}." if aside is not None else ""
    return _loud(
        f"The queue in {path} {why}. What could be read was written to a new file: {kept} "
        f"deliveries and dead letters{rest}.{where}"
    )


def mend(sqlite: sqlite3.Connection, path: Path, why: str) -> Damage:
    """Mend the file where it lies. Raises sqlite3.Error when that is not enough."""
    buried = salvage.mend(sqlite)
    rest = f", and {_corrupt(buried)}" if buried else ""
    return _loud(f"The queue in {path} {why}. Its indexes were built again{rest}.")


def _open(path: Path) -> sqlite3.Connection:
    try:
        return file.open_file(path)
    except sqlite3.OperationalError as error:  # the disk or the system, not the file
        raise EngineError(
            f"The queue in {path} cannot be opened ({error}): see whether its disk has room, "
            "whether we may write there, and whether another program has locked it."
        ) from error


def _repair(path: Path, error: sqlite3.DatabaseError) -> Damage:
    why = f"is damaged ({error})"
    source = sqlite3.connect(path, isolation_level=None)
    with suppress(sqlite3.Error):
        file.check_version(source, path)
    try:
        return mend(source, path, why)
    except sqlite3.Error as insufficient:
        log.warning("The queue in %s cannot be mended where it lies: %s", path, insufficient)
    try:
        return rewrite(source, path, why)
    except (sqlite3.Error, OSError) as failure:
        raise EngineError(
            f"The queue in {path} {why}, and there is no way to write what can be read to a new "
            f"file ({failure}): see whether its disk has room, and whether we may write there."
        ) from failure
    finally:
        source.close()


def _finish_rewriting(path: Path) -> None:
    """Take the new file of a store that died before it could, or forget one that is not done."""
    new = _new(path)
    if new.exists() and not path.exists():
        new.rename(path)
    _remove(new)


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _remove(path: Path) -> None:
    for part in file.parts(path):
        part.unlink(missing_ok=True)


def _force_down(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _corrupt(number: int) -> str:
    return f"{number} that were damaged are dead letters with the reason corrupt"


def _loud(what: str) -> Damage:
    log.critical("%s", what)
    return Damage(now_ms(), what)


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the deliveries and dead letters of a file that no store uses, as far as they can be
    read; the file is not changed. Raises EngineError when it is not a queue."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source:
        try:
            file.check_version(source, path)
            source.execute("SELECT seq FROM delivery LIMIT 0")
        except sqlite3.OperationalError as error:
            raise EngineError(f"{path} cannot be opened as a queue: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise EngineError(f"{path} cannot be read at all: {error}.") from error
        yield from map(row_of, salvage.rows(source))
