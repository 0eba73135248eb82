"""Errors of LMDB and of rows, as authors see them."""

from collections.abc import Iterator
from contextlib import contextmanager

import lmdb
import msgspec

from skep.base.errors import TableError, TableFull

CAUSES = (lmdb.Error, msgspec.MsgspecError)


def failure(what: str, error: Exception) -> TableError:
    """Return what to raise for one of CAUSES; `what` could not be used."""
    if isinstance(error, lmdb.MapFullError):
        return TableFull(f"There is no room for all tables: {error}.")
    return TableError(f"{what} cannot be used: {error}.")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise TableError or TableFull for an error of LMDB or of a row."""
    try:
        yield
    except CAUSES as error:
        raise failure(what, error) from error
