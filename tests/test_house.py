"""The laws of the tree that no tool checks."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.packages import LANGUAGES, PACKAGES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "platform"
FILES = sorted(p for folder in ("platform", "plugins") for p in (ROOT / folder).rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 600, 50
MOST_MODULES, MOST_IMPORTS = 16, 20


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


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(p): ast.parse(p.read_text()) for p in sorted(SOURCE.rglob("*.py"))}


def imports(module: str) -> set[str]:
    """Our modules that it imports anywhere in it, for the type checker only too."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in TREES else node.module for name in names}
    return (found & TREES.keys()) - {module}


IMPORTS = {module: imports(module) for module in TREES}


def reachable(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = IMPORTS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_no_folder_has_more_modules_than_a_reader_can_take_in() -> None:
    folders = Counter(p.parent for p in SOURCE.rglob("*.py") if p.name != "__init__.py")
    large = {f.relative_to(SOURCE).as_posix() for f, n in folders.items() if n > MOST_MODULES}
    assert large == set()


def test_no_module_imports_more_than_twenty_of_ours() -> None:
    assert {m for m, found in IMPORTS.items() if len(found) > MOST_IMPORTS} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    reached = {module: reachable(module) for module in TREES}
    circular = [module for module in TREES if module in reached[module]]
    assert {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in circular
    } == set()


def test_no_public_class_name_stands_twice() -> None:
    names = Counter(
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, n in names.items() if n > 1} == set()


def test_ci_installs_every_package_that_a_test_needs() -> None:
    """B28: with CI=true a missing package fails its tests, so a new machine must have them all."""
    script = (ROOT / ".ci" / "run").read_text()
    command = script.partition("apt-get install")[2].partition(">/dev/null")[0]
    assert set(PACKAGES.values()) <= set(command.split())
    assert set(LANGUAGES.values()) <= set(script.replace("(", " ").replace(")", " ").split())
