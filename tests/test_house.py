"""The laws of the tree that no tool checks."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import PACKAGES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "platform"
FILES = sorted(p for folder in ("platform", "plugins") for p in (ROOT / folder).rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 600, 50


def test_no_python_file_lies_directly_in_the_source_root() -> None:
    assert [p.name for p in SOURCE.iterdir() if p.suffix == ".py"] == []


def test_platform_is_still_the_standard_library_s() -> None:
    code = "import platform, uuid; print(platform.python_implementation())"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.stdout.strip() == sys.implementation.name.replace("cpython", "CPython"), out.stderr


@pytest.mark.parametrize("root", [".", "tests", "platform/skep"])
def test_no_package_bears_a_standard_library_name(root: str) -> None:
    names = {p.parent.name for p in (ROOT / root).glob("*/__init__.py")}
    names |= {p.stem for p in (ROOT / root).glob("*.py")} - {"__init__", "__main__"}
    assert names & (set(sys.stdlib_module_names) - {"__main__"}) == set()


def test_the_package_itself_loads_no_third_party_package() -> None:
    code = (
        "import sys; before = set(sys.modules); import skep, skep.supervisor\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'skep'}))"
    )
    out = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]", out.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_ci_installs_every_package_that_a_test_needs() -> None:
    """B28: with CI=true a missing package fails its tests, so a new machine must have them all."""
    script = (ROOT / ".ci" / "run").read_text()
    command = script.partition("apt-get install")[2].partition(">/dev/null")[0]
    assert set(PACKAGES.values()) <= set(command.split())
