"""The tables of this process: where their file is, which are declared, which transaction is open.

The file is opened when a table is first used, never before a fork of the platform.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from skep.base.errors import TableError
from skep.base.rundir import RunDir
from skep.table import schema as file
from skep.table.environment import MAP_SIZE, Environment
from skep.table.failures import CAUSES, failure
from skep.table.schema import Schema, Transaction
from skep.table.space import Space

_KEY = "PLATFORM_DATA_DIR"
_FORKED = (
    "This process was forked from one that uses tables, which cannot be shared across a fork: use "
    "them in the parent, or start the process with multiprocessing's method `spawn`."
)


class DeclaredTable(Protocol):
    """The class of a table, as an author declares it."""

    def calls(self) -> dict[tuple[str, str], int]:
        """Return how often each operation had which outcome in this process."""


def _nothing() -> None: ...


@dataclass
class Tables:
    """`declared` are the classes that the plugins of this process declare, None where no plugins
    are loaded. `run` is the run of the platform. `spaces` are the tables in use by the
    classes that declare them."""

    folder: Path
    declared: Collection[type] | None = None
    run: str = ""
    spaces: dict[DeclaredTable, Space] = field(default_factory=dict)
    when_opened: Callable[[], None] = _nothing
    _environment: Environment | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> Environment:
        """The open file. Raises TableError."""
        if (environment := self._environment) is not None:
            return environment
        with self._opening:
            if self._environment is None:
                self._environment = Environment(self.folder)
                self.when_opened()
            return self._environment

    def attach(self, schema: Schema) -> Space:
        """Return the table of this schema, making or widening it if need be. Raises TableError."""
        environment = self.environment
        with self.writing() as txn:
            number, run, before = self._version(txn, schema)
            merged = schema.merged(before) or schema
            file.write(txn, number, merged)
            # Twice the rows: pages are not full, and are copied before they are changed.
            size = 2 * sum(version.schema.size for version in file.versions(txn))
            if size > MAP_SIZE:
                raise TableError(
                    f"The table {schema.name} has up to {schema.rows} rows: all tables would take "
                    f"{size >> 20} MiB, more than the {MAP_SIZE >> 20} MiB there are. Declare "
                    "fewer rows, or drop tables that no plugin declares: `platform table ls`."
                )
            environment.reserve(size)
            space = Space(self, number, schema)
            if not schema.durable and self.run and run != self.run:
                file.empty(txn, number)
            if before.indexes != merged.indexes:
                space.reindex(txn)
            file.touch(txn, number, self.run or run)
        return space

    def _version(self, txn: Transaction, schema: Schema) -> tuple[bytes, str, Schema]:
        """Return number, run and schema of the newest version that has room for this schema, or
        those of a new one."""
        for version in reversed(list(file.versions(txn, schema.name))):
            if schema.merged(version.schema) is not None:
                return version.number, version.run, version.schema
        number = file.add(txn, schema)
        return number, self.run, schema

    def reading(self) -> Any:
        """Return a context that yields a transaction to read in."""
        joined = _joined.get()
        if joined is not None and joined.is_mine(self):
            return nullcontext(joined.txn)
        return (self._environment or self.environment).begin()

    def writing(self) -> Any:
        """Return a context that yields a transaction to write in: that of the block, or a new one
        that is committed at its end."""
        joined = _joined.get()
        if joined is not None and joined.is_mine(self):
            return nullcontext(joined.txn)
        return (self._environment or self.environment).begin_writing()

    def close(self) -> None:
        """Close the file, but not that of a parent."""
        environment = self._environment
        if environment is not None and environment.pid == os.getpid():
            self._environment = None
            environment.close()


class _Joined:
    """The transaction of a `with transaction()` block; it is of one thread, and of one turn of the
    event loop if one runs in that."""

    def __init__(self, tables: Tables, txn: Transaction) -> None:
        self.txn = txn
        self._tables: Tables | None = tables
        self._thread = threading.get_ident()
        self._has_turned = False
        self._turn: asyncio.Handle | None = None
        with suppress(RuntimeError):
            self._turn = asyncio.get_running_loop().call_soon(self._note_turn)

    def _note_turn(self) -> None:
        self._has_turned = True

    def check(self) -> None:
        """Raise TableError if the block has waited for something, or ends in another thread."""
        if self._thread != threading.get_ident():
            raise TableError(
                "A block of `with transaction()` ended in another thread than it began in, which "
                "alone can let other processes write: they wait until that thread ends. Write the "
                "block in one function, without a yield."
            )
        if self._has_turned:
            raise TableError(
                "There was an await in the block of `with transaction()`, while which no other "
                "process could write; nothing was changed. Await before or after the block."
            )

    def is_mine(self, tables: Tables) -> bool:
        return self._tables is tables and self._thread == threading.get_ident()

    def end(self) -> None:
        self._tables = None
        if self._turn is not None:
            self._turn.cancel()


_joined: ContextVar[_Joined | None] = ContextVar("skep_table_transaction", default=None)
# Module state, because an author's call can come from anywhere in the process.
_tables: Tables | None = None
_refusal = ""


def current() -> Tables:
    """Return the tables of this process; of one that is not a worker, those in PLATFORM_DATA_DIR.

    Raises TableError when that is not set, and while plugins are loaded.
    """
    global _tables
    if _tables is not None:
        return _tables
    if _refusal:
        raise TableError(_refusal)
    if not (folder := os.environ.get(_KEY)):
        raise TableError(
            "This process is not a worker of a platform: set PLATFORM_DATA_DIR to the data "
            "directory of one to use its tables from here."
        )
    _tables = Tables(RunDir(folder).tables_dir)
    atexit.register(_tables.close)
    return _tables


def bind(tables: Tables | None) -> Tables | None:
    """Make these the tables of this process; return those before."""
    global _tables
    before, _tables = _tables, tables
    return before


def refuse(reason: str) -> None:
    """Refuse every use of a table until tables are bound."""
    global _refusal
    _refusal = reason


@contextmanager
def transaction() -> Iterator[None]:
    """Change several rows and tables at once: all that the block does is seen at its end, or, if it
    raises, none of it.

    Nothing else changes what the block reads, because no other process writes until its end: keep
    it short. A block within a block is a part of it.

    Raises TableError at its end, and changes nothing, if the block has waited for something by
    `await`; TableFull if there is no room for all tables.
    """
    tables = current()
    joined = _joined.get()
    if joined is not None and joined.is_mine(tables):
        yield
        return
    environment, known = tables.environment, dict(tables.spaces)
    txn = _explained(environment.begin_writing)
    environment.writer = threading.get_ident()
    mine = _Joined(tables, txn)
    token = _joined.set(mine)
    try:
        yield
        mine.check()
        _explained(txn.commit)
    except BaseException:
        txn.abort()
        tables.spaces = known  # a table that was made in the block is not there
        raise
    finally:
        environment.writer = 0
        mine.end()
        with suppress(ValueError):  # in another context it was never set
            _joined.reset(token)


def _explained(step: Callable[[], Any]) -> Any:
    """Return what a step of a transaction returns. Raises TableError and TableFull."""
    try:
        return step()
    except CAUSES as error:
        raise failure("The transaction", error) from error


def _be_forked() -> None:
    """Forget what the parent has open: LMDB cannot be used across a fork, nor opened twice."""
    global _tables
    if _tables is not None and _tables._environment is not None:
        # If it were ever freed here, even at exit, LMDB would give up the parent's readers.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_tables._environment.lmdb))
        _tables = None
        refuse(_FORKED)


os.register_at_fork(after_in_child=_be_forked)
