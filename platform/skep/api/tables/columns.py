"""How authors write the columns of a table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from skep.table.column import BOUNDED, LONGEST_BOUND, ZEROS, TableColumn


class _Bounded:
    kind: ClassVar[type]

    def __class_getitem__(cls, bound: int) -> Any:
        return Annotated[cls.kind, bound]


if TYPE_CHECKING:
    Str = str
    Bytes = bytes
else:

    class Str(_Bounded):
        """`Str[32]` is a column of text of up to 32 characters: short for Annotated[str, 32]."""

        kind = str

    class Bytes(_Bounded):
        """`Bytes[1024]` is a column of up to 1024 bytes: short for Annotated[bytes, 1024]."""

        kind = bytes


# Without a bound; for the type checker they are str and bytes.
_SHORT: Mapping[Any, Any] = {Str: str, Bytes: bytes}


def columns_of(cls: type, reserved: frozenset[str]) -> tuple[TableColumn, ...]:
    """Return the columns that a class declares, those of its bases first; none may have a
    `reserved` name.

    Raises ValueError with a text that reads on after the name of the class.
    """
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise ValueError(f"has a type that cannot be read: {error}") from error
    if taken := [name for name in hints if name in reserved]:
        raise ValueError(f"has a column with a name that is taken: {taken[0]}")
    columns = tuple(
        _column(cls, name, hint)
        for name, hint in hints.items()
        if get_origin(hint) is not ClassVar and not name.startswith("_")
    )
    if not columns:
        raise ValueError("has no columns: write one as `n: int`")
    return columns


def _column(cls: type, name: str, hint: Any) -> TableColumn:
    kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kind = _SHORT.get(kind, kind)
    if kind not in ZEROS:
        raise ValueError(
            f"has the column {name} of type {getattr(kind, '__name__', kind)}: "
            "columns are int, float, bool, Str[…] and Bytes[…]"
        )
    bound = 0
    if kind.__name__ in BOUNDED:
        short = BOUNDED[kind.__name__][0]
        bound = next((mark for mark in marks if type(mark) is int), -1)
        if bound == -1:
            raise ValueError(f"has the column {name} without a bound: write {short}[64]")
        if not 1 <= bound <= LONGEST_BOUND:
            raise ValueError(
                f"has the column {name} with the bound {bound}: write {short}[64], up to "
                f"{short}[{LONGEST_BOUND}]"
            )
    column = TableColumn(name, kind.__name__, bound, getattr(cls, name, ZEROS[kind]))
    if problem := column.problem(column.default):
        raise ValueError(f"has a default that does not fit: {name} {problem}")
    return column
