"""Columns with a bound, as mypy reads them with the plugin that we ship."""

import subprocess
import sys
from pathlib import Path

from tests.platform_process import ROOT

SAMPLE = Path(__file__).with_name("typed_tables.py")
WRONG = """
class Wrong(Table, rows=1):
    one: Str["a"]
    two: Str

number: int = Users.rows().__next__().name
"""


def test_mypy_reads_a_column_with_a_bound_as_its_type(tmp_path: Path) -> None:
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nplugins = skep.mypy\n")
    (tmp_path / "shop.py").write_text(SAMPLE.read_text() + WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "shop.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT / "platform"), "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
    )
    first = len(SAMPLE.read_text().splitlines())
    assert done.stdout.splitlines() == [
        f"shop.py:{first + 3}: error: A column has one bound, as Str[32].  [misc]",
        f"shop.py:{first + 4}: error: A column has one bound, as Str[32].  [misc]",
        f"shop.py:{first + 6}: error: Incompatible types in assignment "
        '(expression has type "str", variable has type "int")  [assignment]',
    ], done.stderr
