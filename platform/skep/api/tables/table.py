"""Shared tables: the author's side."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Self, TypeVar, cast

import msgspec

from skep.api.naming import registered_name
from skep.api.tables.columns import columns_of
from skep.base.errors import TableFull, Undeclared
from skep.table import binding
from skep.table.environment import MAP_SIZE
from skep.table.failures import CAUSES, failure
from skep.table.schema import Schema
from skep.table.space import Space, now_ms

P = ParamSpec("P")
R = TypeVar("R")

# What a row has beside its columns, here and in what `platform table dump` writes.
_RESERVED = frozenset({"key", "expires_in"})
# Tables of the platform itself.
RESERVED = "skep."
_NUMBERS = ("int", "float")
_LONGEST_TTL = 100 * 365 * 86400.0


def _operation(function: Callable[P, R]) -> Callable[P, R]:
    """Count the calls of a method by outcome, and translate errors of LMDB."""
    name = function.__name__

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        cls: Any = args[0]
        try:
            result = function(*args, **kwargs)
        except CAUSES as error:
            failed = failure(f"The table {cls._name}", error)
            cls._calls[f"{name} full" if isinstance(failed, TableFull) else f"{name} error"] += 1
            raise failed from error
        except Exception as error:
            is_full = isinstance(error, TableFull)
            cls._calls[f"{name} full" if is_full else f"{name} error"] += 1
            raise
        cls._calls[name] += 1
        return result

    return run


class Table:
    """A table of rows that all processes of the platform share.

        class Users(Table, rows=1000, index="fd", ttl=3600):
            fd: int
            name: Str[32]
            score: float = 1.0

        Users.set("ann", fd=7, name="Ann")
        Users.increment("ann", "score")
        Users.get("ann").score

    It has up to `rows` rows, each found by its key, a text of up to 200 bytes. The annotations are
    its columns: int (64 bits), float, bool, `Str[…]` with the most characters and `Bytes[…]` with
    the most bytes. A column has its default until it is set: 0, False or empty, if there is no
    other.

    `index` names a column, or several, by which `where` finds rows. With `ttl` a row is gone so
    many seconds after it was last `set`. A table survives reloads and restarts, unless `durable` is
    False: then it is empty when the platform starts. `name` is its name, else `plugin.Class`.

    Every call takes microseconds and may be made in coroutines. A row that is returned is a copy
    with the attribute `key` and the columns. All raise ValueError for a key, column or value that
    does not fit, and TableError if the file cannot be used or the table is not for this process;
    what makes a row raises TableFull.
    """

    if TYPE_CHECKING:
        key: str

    __slots__ = ()

    _name: ClassVar[str] = ""
    _problem: ClassVar[str] = ""
    _schema: ClassVar[Schema | None] = None
    _shown: ClassVar[tuple[str, ...]] = ()
    _decoder: ClassVar[Callable[[bytes], Any]]
    # By operation, and a word more where it failed; a Counter would take as long as a read.
    _calls: ClassVar[defaultdict[str, int]]

    def __init_subclass__(
        cls,
        rows: int = 1024,
        index: str | tuple[str, ...] = (),
        ttl: float = 0.0,
        durable: bool = True,
        name: str = "",
    ) -> None:
        if msgspec.Struct in cls.__mro__:  # the class of its rows, made below
            return
        cls._name = name or registered_name(cls)
        cls._calls = defaultdict(int)
        try:
            cls._schema = _schema_of(cls, cls._name, rows, index, ttl, durable)
        except ValueError as error:
            cls._problem = str(error)
            return
        fields: list[Any] = [("key", str), ("_expires", int, 0)]
        fields += [(c.name, Any, c.default) for c in cls._schema.columns]
        struct = msgspec.defstruct(
            cls.__name__, fields, bases=(msgspec.Struct, cls), array_like=True, frozen=True,
            module=cls.__module__, namespace={"__repr__": cls.__repr__},
        )  # fmt: skip
        cls._shown = ("key", *(column.name for column in cls._schema.columns))
        cls._decoder = msgspec.msgpack.Decoder(struct).decode

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__name__}({values})"

    @classmethod
    def registered_name(cls) -> str:
        """Return its name."""
        return cls._name

    # -- one row ---------------------------------------------------------------------------------

    @classmethod
    @_operation
    def get(cls, key: str) -> Self | None:
        """Return a copy of a row, or None."""
        space = cls._space()
        with space.tables.reading() as txn:
            raw = space.raw(txn, space.key(key))
        return None if raw is None else cls._row(raw)

    @classmethod
    @_operation
    def set(cls, key: str, **columns: Any) -> None:
        """Set these columns of a row; a new one has defaults in the others."""
        space = cls._space()
        raw, changes = space.key(key), space.changes(columns)
        with space.tables.writing() as txn:
            space.set(txn, raw, changes)

    @classmethod
    @_operation
    def increment(cls, key: str, column: str, by: float = 1) -> Any:
        """Add to a number of a row, which is made if it is not there; return the sum."""
        space = cls._space()
        raw, place = space.key(key), space.place(column, by, _NUMBERS)
        with space.tables.writing() as txn:
            return space.add(txn, raw, place, by)

    @classmethod
    def decrement(cls, key: str, column: str, by: float = 1) -> Any:
        """Subtract from a number of a row; see `increment`."""
        return cls.increment(key, column, -by)

    @classmethod
    @_operation
    def compare_and_set(cls, key: str, expected: Mapping[str, Any] | None, **columns: Any) -> bool:
        """Set columns if the row has the expected values, or, for None, if there is no row.

        Return False, and change nothing, if it has others.
        """
        space = cls._space()
        raw, changes = space.key(key), space.changes(columns)
        wanted = None if expected is None else space.changes(expected)
        with space.tables.writing() as txn:
            space.follow(txn)
            row = space.full(txn, raw)
            if (row is None) != (wanted is None):
                return False
            if row is not None and any(row[place] != value for place, value in wanted or ()):
                return False
            space.set(txn, raw, changes)
        return True

    @classmethod
    @_operation
    def pop(cls, key: str) -> Self | None:
        """Delete a row and return it; None if it is not there."""
        space = cls._space()
        with space.tables.writing() as txn:
            raw = space.pop(txn, space.key(key))
        return None if raw is None else cast(Self, cls._decoder(raw))

    @classmethod
    @_operation
    def delete(cls, key: str) -> bool:
        """Delete a row; return whether it was there."""
        space = cls._space()
        with space.tables.writing() as txn:
            return space.pop(txn, space.key(key)) is not None

    @classmethod
    @_operation
    def exists(cls, key: str) -> bool:
        """Return whether there is such a row."""
        space = cls._space()
        with space.tables.reading() as txn:
            return space.get(txn, space.key(key)) is not None

    @classmethod
    @_operation
    def expire(cls, key: str, seconds: float | None) -> bool:
        """Let a row be gone after so many seconds, or for None stay; return whether it is there."""
        if seconds is not None and not 0 <= seconds <= _LONGEST_TTL:
            raise ValueError(f"{cls._name}: seconds are 0 to {_LONGEST_TTL:.0f}, not {seconds}.")
        space = cls._space()
        at = 0 if seconds is None else now_ms() + round(seconds * 1000)
        with space.tables.writing() as txn:
            return space.expire(txn, space.key(key), at)

    # -- many rows -------------------------------------------------------------------------------

    @classmethod
    @_operation
    def count(cls) -> int:
        """Return how many rows there are."""
        space = cls._space()
        with space.tables.reading() as txn:
            return space.count(txn)

    @classmethod
    @_operation
    def rows(cls, prefix: str = "") -> Iterator[Self]:
        """Return an iterator over the rows whose key begins with the prefix, by key.

        Outside of a transaction it reads batch by batch: rows that change in between may be seen
        before or after the change, all others exactly once.
        """
        space = cls._space()
        return space.scan(space.tables.reading, space.prefix(prefix), cls._decoder)

    @classmethod
    @_operation
    def where(cls, **column: Any) -> list[Self]:
        """Return the rows in which an indexed column has this value, by key: `where(fd=7)`."""
        space = cls._space()
        if len(column) != 1:
            raise ValueError(f"{cls._name}: where() takes one column, not {len(column)}.")
        with space.tables.reading() as txn:
            found = [raw for name, value in column.items() for raw in space.where(txn, name, value)]
        return [cast(Self, cls._decoder(raw)) for raw in found]

    @classmethod
    @_operation
    def clear(cls) -> int:
        """Delete all rows; return how many there were."""
        space = cls._space()
        with space.tables.writing() as txn:
            return space.clear(txn)

    @classmethod
    def prepare(cls) -> None:
        """Make the table in the file, or widen it; for the platform. Raises TableError."""
        cls._space()

    @classmethod
    def calls(cls) -> dict[tuple[str, str], int]:
        """Return how often each operation had which outcome in this process; for the platform."""
        split = [(*name.partition(" ")[::2], count) for name, count in cls._calls.copy().items()]
        return {(op, outcome or "success"): count for op, outcome, count in split}

    # -- within ----------------------------------------------------------------------------------

    @classmethod
    def _row(cls, raw: bytes) -> Self | None:
        row: Any = cls._decoder(raw)
        return row if row._expires == 0 or row._expires > now_ms() else None

    @classmethod
    def _space(cls) -> Space:
        tables = binding.current()
        if (space := tables.spaces.get(cls)) is not None:
            return space
        if cls._schema is None:
            raise TypeError(f"{cls.__module__}.{cls.__qualname__} {cls._problem}.")
        is_ours = cls.__module__.startswith(RESERVED)
        if tables.declared is not None and cls not in tables.declared and not is_ours:
            raise Undeclared(
                "",
                f"The table {cls.__module__}.{cls.__qualname__} is in no Plugin: declare it with "
                f"Plugin(tables=[{cls.__name__}]).",
            )
        space = tables.spaces[cls] = tables.attach(cls._schema)
        return space


def problem_of(cls: type[Table]) -> str:
    """Return why a table cannot be used, as a text that reads on after its name, or nothing."""
    return cls._problem if cls._schema is None else ""


def _schema_of(
    cls: type, name: str, rows: int, index: str | tuple[str, ...], ttl: float, durable: bool
) -> Schema:
    columns = columns_of(cls, _RESERVED | {n for n in dir(Table) if not n.startswith("_")})
    if len(columns) > 200:
        raise ValueError(f"has {len(columns)} columns; 200 is the most")
    if type(rows) is not int or rows < 1:
        raise ValueError(f"has rows={rows!r:.60}; it takes a number from 1 on")
    if type(ttl) not in (int, float) or not 0 <= ttl <= _LONGEST_TTL:
        raise ValueError(f"has ttl={ttl!r:.60}; it takes seconds, 0 for no limit")
    if type(durable) is not bool:
        raise ValueError(f"has durable={durable!r:.60}; it takes True or False")
    indexes = tuple(index) if isinstance(index, list | tuple) else (index,) if index else ()
    if unknown := [one for one in indexes if one not in [column.name for column in columns]]:
        raise ValueError(f"has index={unknown[0]!r:.60}, which is not one of its columns")
    if not isinstance(name, str) or not 0 < len(name.encode()) <= 200:
        raise ValueError(f"has the name {name!r:.80}; it takes 1 to 200 bytes")
    if name.startswith(RESERVED) and not cls.__module__.startswith(RESERVED):
        raise ValueError(f"has the name {name!r:.80}, but names with {RESERVED} are the platform's")
    schema = Schema(name, columns, rows, indexes, float(ttl), durable)
    if 2 * schema.size > MAP_SIZE:
        raise ValueError(
            f"has rows={rows}, which may take {2 * schema.size >> 20} MiB: all tables have "
            f"{MAP_SIZE >> 20} MiB"
        )
    return schema
