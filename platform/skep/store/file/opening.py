"""Opens the queue, whatever has happened to its file.

A damaged file is repaired in place by rebuilding its indexes, if that is enough. If not, what can
be read is written to a new file, and the damaged one is moved aside. The new file is complete and
on the disk before it takes the name, so a crash in between loses nothing.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from skep.base.errors import EngineError
from skep.engine.contract import DeliveryRow
from skep.engine.ids import now_ms
from skep.store.file import first_page, salvage, schema, wal
from skep.store.file.damage import DAMAGE, Damage, is_damage, keep
from skep.store.file.rows import CORRUPT, row_of

log = logging.getLogger(__name__)

# What was copied whole from a damaged file has been restored.
_CLAIM_ALL = f"""
INSERT INTO restored (id)
SELECT id FROM delivery UNION SELECT id FROM dead WHERE reason != '{CORRUPT}'
ON CONFLICT DO NOTHING"""


def connect(path: Path, damaged: Callable[[], None] = lambda: None) -> sqlite3.Connection:
    """Open the database for writing, making or repairing it if necessary.

    `damaged` is called when it was damaged; the file records what was done about it. Raises
    EngineError when the file was written by a newer platform, or when the system does not let it be
    opened or repaired.
    """
    if path == schema.IN_MEMORY:
        return schema.open_file(path)
    lost = _finish_rewriting(path) or _look_into_log(path)
    if not path.exists():
        log.info("A new queue is made in %s.", path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        database = _open(path)
    except DAMAGE as error:
        _repair(path, error)
        damaged()
        database = _open(path)
    if lost:
        log.critical("%s", lost)
        keep(database, Damage(now_ms(), lost))
        damaged()
    return database


def rewrite(source: sqlite3.Connection, path: Path, why: str) -> Damage:
    """Write all that an open connection can still read to a new file, and give that the name.

    The connection is closed. Whatever lay under the name is moved aside. Raises sqlite3.Error or
    OSError when the new file cannot be written; the connection is open then, and nothing moved.
    """
    new = _new(path)
    _remove(new)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    aside = schema.aside_name(path)
    where = f" What lay under its name is {aside}." if path.exists() else ""
    with closing(schema.open_file(new)) as target, salvage.transaction(target):
        target.execute(schema.RESTORED)
        kept, corrupt = salvage.copy(source, target)
        target.execute(_CLAIM_ALL)
        rest = f"; {_corrupt(corrupt)}" if corrupt else ""
        what = f"What could be read was written to a new file: {kept} deliveries and dead letters"
        damage = Damage(now_ms(), f"The queue in {path} {why}. {what}{rest}.{where}")
        keep(target, damage)
    _force_down(new)
    schema.move_aside(path, aside)
    source.close()  # this deletes the log, so do it before a new log has its name
    new.rename(path)
    _force_down(path.parent)
    log.critical("%s", damage.what)
    return damage


def mend(sqlite: sqlite3.Connection, path: Path, why: str) -> Damage:
    """Repair the file in place. Raises one of DAMAGE when that is not enough."""
    with salvage.transaction(sqlite):
        buried = salvage.mend(sqlite)
        rest = f", and {_corrupt(buried)}" if buried else ""
        what = f"The queue in {path} {why}. Its indexes were built again{rest}."
        damage = Damage(now_ms(), what)
        keep(sqlite, damage)
    log.critical("%s", what)
    return damage


def _open(path: Path) -> sqlite3.Connection:
    """Open the database. Raises one of DAMAGE when it is damaged, EngineError when that is not what
    is wrong."""
    try:
        return schema.open_file(path)
    except DAMAGE as error:
        if is_damage(error):
            raise
        raise EngineError(
            f"The queue in {path} cannot be opened ({error}): see whether its disk has room, "
            "whether we may write there, and whether another program has locked it."
        ) from error


def _repair(path: Path, error: Exception) -> None:
    why = f"is damaged ({error})"
    with closing(sqlite3.connect(path, isolation_level=None)) as source:
        with suppress(*DAMAGE):
            schema.check_version(source, path)
        try:
            mend(source, path, why)
            _open(path).close()
        except DAMAGE as insufficient:
            log.warning("The queue in %s cannot be mended where it lies: %s", path, insufficient)
        else:
            return
    try:
        _rewrite(path, why)
    except (sqlite3.Error, OSError) as failure:
        raise EngineError(
            f"The queue in {path} {why}, and there is no way to write what can be read to a new "
            f"file ({failure}): see whether its disk has room, and whether we may write there."
        ) from failure


def _rewrite(path: Path, why: str) -> None:
    """Write what can be read in the file, or in a copy of it that SQLite does not refuse."""
    copy = path.with_name(f"{path.name}.copy")
    readable = path
    try:
        if not first_page.has_tables(path):
            _remove(copy)
            first_page.patch(path, copy)
            readable = copy
        rewrite(sqlite3.connect(readable, isolation_level=None), path, why)
    finally:
        _remove(copy)


def _finish_rewriting(path: Path) -> str:
    """Finish or discard the new file of a store that died while rewriting; return what was lost."""
    new, lost = _new(path), ""
    if new.exists() and not path.exists():
        if _is_complete(new):
            new.rename(path)
        else:
            lost = (
                f"The queue in {path} was taken away while it was in use, and the store died "
                "before what it held was written to a new file: that is lost."
            )
    _remove(new)
    return lost


def _look_into_log(path: Path) -> str:
    aside = schema.aside_name(path)
    try:
        rest = wal.keep_rest(path, aside)
    except OSError as error:
        raise EngineError(f"The log of the queue in {path} cannot be read: {error}.") from error
    if not rest:
        return ""
    return (
        f"The log of the queue in {path} is damaged, and what stands in its last {rest} pages does "
        "not count: deliveries may be missing, and others may run again. If there was a loss of "
        f"power, none of it had been confirmed. It can be taken from {aside} by `platform queue "
        "recover`."
    )


def _is_complete(new: Path) -> bool:
    """Return whether a new file was written completely; its log is merged into it."""
    with closing(sqlite3.connect(new)) as database, suppress(sqlite3.Error):
        found = database.execute("SELECT 1 FROM meta WHERE key = 'damage'").fetchone()
        return found is not None
    return False


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _remove(path: Path) -> None:
    for part in schema.parts(path):
        part.unlink(missing_ok=True)


def _force_down(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _corrupt(number: int) -> str:
    return f"{number} that were damaged are dead letters with the reason corrupt"


def rows_of(path: Path) -> Iterator[DeliveryRow]:
    """Yield the deliveries and dead letters of a file that no store uses, as far as they can be
    read; the file is not changed. Raises EngineError when it is not a queue."""
    with closing(schema.connect_to_read(path)) as source:
        try:
            schema.check_version(source, path)
            source.execute("SELECT seq FROM delivery LIMIT 0")
        except sqlite3.OperationalError as error:
            raise EngineError(f"{path} cannot be opened as a queue: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise EngineError(f"{path} cannot be read at all: {error}.") from error
        yield from map(row_of, salvage.rows(source))
