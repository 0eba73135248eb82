"""Tables in a directory of each test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.table.binding import Tables, bind


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    made = Tables(tmp_path / "tables")
    before = bind(made)
    yield made
    made.close()
    bind(before)
