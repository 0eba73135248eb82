"""What the nursery has been made of."""

import sys
from pathlib import Path

import pytest

from skep.worker.birth.nursery import _sources


def test_a_file_that_names_other_places_for_modules_is_one_of_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "[site]"), "/nowhere"])
    (tmp_path / "[site]").mkdir()
    before = _sources()
    assert _sources(before) == before
    named = tmp_path / "[site]" / "editable.pth"
    named.write_text("/somewhere\n")
    after = _sources(before)
    assert after != before
    # What is not there any more is another state too
    assert _sources(after) == after
    named.unlink()
    assert _sources(after) != after
