"""The documentation is complete, true and without dead links."""

import re
from pathlib import Path

import pytest

from docs.generate import PAGES, REFERENCE

ROOT = Path(__file__).parent.parent
TEXTS = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PACKAGE = ROOT / "platform" / "skep"
# Files of plugins in examples.
EXAMPLES = {"plugins/garden.py", "shop/prices.py"}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run make docs"


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_link_is_dead(path: Path) -> None:
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {(ROOT / "docs" / target).resolve() for target in LINK.findall(index)}
    pages = {p.resolve() for p in (ROOT / "docs").glob("**/*.md")} - {ROOT / "docs" / "README.md"}
    assert pages <= linked


def test_the_promises_name_tests_that_exist() -> None:
    text = (ROOT / "docs" / "design" / "promises.md").read_text()
    named = set(re.findall(r"`((?:acceptance|contract|process)/\w+\.py)`", text))
    assert named
    for name in named:
        assert (ROOT / "tests" / name).exists(), name


def test_each_promise_about_tasks_is_linked_to_a_test_there_is() -> None:
    text = (ROOT / "docs" / "design" / "promises.md").read_text()
    table = text.partition("## Tasks and events")[2].partition("\n## ")[0]
    _, _, *promises = [line for line in table.splitlines() if line.startswith("|")]
    assert len(promises) > 15
    for promise in promises:
        linked = re.findall(r"\[(test_\w+)\]\(\.\./\.\./(tests/[\w/]+\.py)\)", promise)
        assert linked, promise
        for name, path in linked:
            found = re.findall(rf"^def {name}\(", (ROOT / path).read_text(), re.M)
            assert len(found) == 1, f"{name} is not in {path}"


def test_every_python_block_of_a_whole_example_compiles() -> None:
    pages = ("tutorial/first-plugin.md", "howto/testing.md", "howto/crons.md", "howto/tables.md")
    for path in (ROOT / "README.md", *(ROOT / "docs" / page for page in pages)):
        blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.S)
        assert blocks
        for block in blocks:
            compile(block, str(path), "exec")


def packages(folder: Path) -> list[Path]:
    return sorted(p.parent for p in folder.glob("*/**/__init__.py") if len(modules(p.parent)) > 0)


def modules(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.py") if p.stem not in ("__init__", "__main__"))


def drawn() -> set[str]:
    """The packages that the plan of the house shows."""
    text = (ROOT / "docs" / "design" / "house.md").read_text()
    plan = text.partition("platform/skep/\n")[2].partition("```")[0]
    path, found = list[str](), set[str]()
    for inner, name in re.findall(r"^((?:[│ ] {3})*)[├└]── (\w+)/", plan, re.M):
        path = [*path[: len(inner) // 4], name]
        found.add("/".join(path))
    return found


def test_the_plan_of_the_house_shows_every_package_and_no_other() -> None:
    there = {p.relative_to(PACKAGE).as_posix() for p in packages(PACKAGE)}
    assert there == drawn()


def test_every_module_that_a_page_names_is_there() -> None:
    for path in (ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")):
        for named in re.findall(r"`([a-z_]+/[\w/]+\.py)`", path.read_text()):
            places = [folder / named for folder in (ROOT, PACKAGE, ROOT / "tests")]
            places += [folder / named for folder in packages(PACKAGE) if folder.parent == PACKAGE]
            assert any(place.exists() for place in places) or named in EXAMPLES, (path, named)


def unexplained() -> set[str]:
    text = (REFERENCE / "glossary.md").read_text().lower()
    folders = [PACKAGE / "supervisor", *packages(PACKAGE / "supervisor")]
    names = {p.stem for folder in folders for p in (folder, *modules(folder))}
    return {n for n in names if not re.search(rf"\b{n.replace('_', ' ')}\b", text)}


def test_every_package_and_module_of_the_supervisor_is_in_the_glossary() -> None:
    assert unexplained() == set()
