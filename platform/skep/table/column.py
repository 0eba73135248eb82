"""A column of a table: its type, its bound, and what it holds until it is set."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, ValidationError, convert

Value = int | float | bool | str | bytes

ZEROS: Mapping[type, Value] = {int: 0, float: 0.0, bool: False, str: "", bytes: b""}
BOUNDED = {"str": ("Str", "characters"), "bytes": ("Bytes", "bytes")}
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
# A character takes up to four bytes.
_WIDTHS = {"str": 4, "bytes": 1}
LONGEST_BOUND = 1 << 20


class TableColumn(Struct, frozen=True, array_like=True):
    """`kind` is the name of a type, `bound` the most characters or bytes, 0 for a number."""

    name: str
    kind: str
    bound: int
    default: Any

    def problem(self, value: object) -> str:
        """Return why the column does not take the value, or an empty text."""
        kind = _KINDS[self.kind]
        if type(value) is not kind and not (kind is float and type(value) is int):
            return f"takes {self.kind}, not {value!r:.60}"
        if kind is int and not _SMALLEST <= value <= _LARGEST:  # type: ignore[operator]
            return f"takes -2**63 to 2**63-1, not {value}"
        if self.bound and len(value) > self.bound:  # type: ignore[arg-type]
            return (
                f"takes {self.bound} {BOUNDED[self.kind][1]}, not {value!r:.60} with {len(value)}"  # type: ignore[arg-type]
            )
        return ""

    @property
    def width(self) -> int:
        """The most bytes that a value takes."""
        return 9 + self.bound * _WIDTHS.get(self.kind, 0)


_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in ZEROS}


def converted(column: TableColumn, value: object) -> Value:
    """Return a value of JSON as the column takes it: bytes are base64 there.

    Raises ValueError.
    """
    try:
        result: Value = convert(value, _KINDS[column.kind])
    except ValidationError as error:
        raise ValueError(f"column {column.name}: {error}") from error
    return result
