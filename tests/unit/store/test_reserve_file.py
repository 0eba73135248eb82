"""Room is measured for as long as the store lives, whatever becomes of the directory."""

import logging
import shutil
from pathlib import Path

import pytest

from skep.store.file.reserve_file import ReserveFile


def test_a_directory_that_is_gone_has_no_room_and_one_that_is_back_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    reserve = ReserveFile(directory / "queue.db")
    reserve.check()
    assert not reserve.scarce
    shutil.rmtree(directory)
    with caplog.at_level(logging.CRITICAL):
        assert reserve.check()
        assert not reserve.check()
    assert reserve.scarce
    (record,) = caplog.records
    assert f"The disk of {directory} cannot be used (No such file or directory)" in record.message
    directory.mkdir()
    assert reserve.check()
    assert not reserve.scarce
