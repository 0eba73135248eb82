"""The guide for authors of plugins: what it shows is run as an author would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


def test_every_example_of_the_guide_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "howto" / "testing.md").read_text()
    conftest, *examples = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "conftest.py").write_text(conftest)
    for n, example in enumerate(examples):
        (tmp_path / f"test_example_{n}.py").write_text(example)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"{len(examples)} passed" in done.stdout, done.stdout + done.stderr
