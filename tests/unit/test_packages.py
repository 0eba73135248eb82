"""Tests that need a system package say so, and do not pass without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import MISSING, require
from tests.platform_process import ROOT

NEEDS_NGINX = """
from tests.conftest import pytest_terminal_summary
from tests.packages import require

def test_a_proxy():
    require("nginx")
"""


@pytest.mark.parametrize(
    ("ci", "code", "seen"),
    [
        ("", 0, ["1 skipped", "1  nginx-light", "To run them: apt-get install nginx-light"]),
        ("true", 1, ["1 failed", f"{MISSING}nginx-light: apt-get install nginx-light"]),
    ],
)
def test_a_missing_package_is_listed_at_the_end_and_fails_in_ci(
    tmp_path: Path, ci: str, code: int, seen: list[str]
) -> None:
    """B28: `make test` on a machine without a package names it and passes; in CI it fails."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary")
    (tmp_path / "test_it.py").write_text(NEEDS_NGINX)
    without = {"PATH": str(tmp_path), "CI": ci, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    hidden = "import tests.packages as p; p._ELSEWHERE = (); import pytest; "
    hidden += "raise SystemExit(pytest.main(['-q', '-p', 'no:cacheprovider', 'test_it.py']))"
    done = subprocess.run(
        [sys.executable, "-c", hidden], cwd=tmp_path, env=without, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert all(text in done.stdout for text in seen), done.stdout


def test_a_program_that_is_there_is_found() -> None:
    assert os.access(require("bash"), os.X_OK)
