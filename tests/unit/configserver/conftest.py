"""A file of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.configserver.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "config.db") as store:
        yield store
