"""What lies in the project folder can be imported, and stands in for no library."""

import subprocess
import sys
from pathlib import Path

import pytest

IMPORTING = """
import sys
from pathlib import Path
from skep.worker.loading.loader import make_importable
project = Path(sys.argv[1])
make_importable(project, fresh=sys.argv[2] == "fresh")
import json, shop.prices
assert not hasattr(json, "MINE")
print(shop.prices.PRICE, type(shop.prices.__spec__.loader).__name__, sys.path[-1] == str(project))
"""


@pytest.mark.parametrize(("how", "cached"), [("fresh", False), ("cached", True)])
def test_modules_of_the_project_are_compiled_every_time_while_the_code_is_watched(
    tmp_path: Path, how: str, cached: bool
) -> None:
    """B13: the project folder is importable; two saves within a second are two states."""
    (tmp_path / "json.py").write_text("MINE = True\n")
    (tmp_path / "shop").mkdir()
    file = tmp_path / "shop" / "prices.py"
    file.write_text("PRICE = 1\n")
    command = [sys.executable, "-P", "-c", IMPORTING, str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loader = "SourceFileLoader" if cached else "UncachedLoader"
    assert done.stdout.split() == ["1", loader, "True"]
    assert cached or not (tmp_path / "shop" / "__pycache__").exists()
