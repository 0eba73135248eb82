"""`platform lint state`: mutable state of modules and classes, found in the source."""

import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from skep.cli.lint import examine
from tests.platform_process import COMMAND, ROOT


def found(source: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.text) for finding in examine(dedent(source), "shop.py")]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("seen = []", "module global seen"),
        ("SEEN = {}\ndef f(): SEEN[1] = 2", "module global SEEN"),
        ("SEEN: set[int] = set()\ndef f(): SEEN.add(1)", "module global SEEN"),
        ("import collections\ncache = collections.defaultdict(list)", "module global cache"),
        ("class Cart:\n    items = []", "class attribute Cart.items"),
        ("class Cart:\n    items: list[int] = []", "class attribute Cart.items"),
        ("class T(Task):\n    seen: ClassVar[list[int]] = []", "class attribute T.seen"),
        ("n = 0\ndef f():\n    global n\n    n += 1", "module global n"),
        ("class Cart: pass\ndef f():\n    Cart.user = 1", "class attribute Cart.user"),
        ("class C:\n    @classmethod\n    def f(cls): cls.n = 1", "class attribute cls.n"),
        ("def f(seen=[]): ...", "default of f()"),
    ],
)
def test_what_requests_share_is_found(source: str, what: str) -> None:
    ((_, text),) = found(source)
    assert what in text


@pytest.mark.parametrize(
    "source",
    [
        "NAMES = ['a', 'b']",
        "__all__ = ['a']",
        "seen = []  # shared: a cache of what never changes",
        "class T(Task):\n    items: list[int] = []",
        "user = ContextVar('user')\ncount = 0\nnames = ('a', 'b')",
        "def f():\n    seen = []\n    seen.append(1)",
        "class Cart:\n    def __init__(self): self.items = []",
    ],
)
def test_what_is_nobody_s_or_nobody_changes_is_not(source: str) -> None:
    assert found(source) == []


def test_the_verb_says_file_and_line(tmp_path: Path) -> None:
    plugin = tmp_path / "shop.py"
    plugin.write_text("import os\n\n\nclass Handler:\n    seen = []\n")
    lint = [*COMMAND, "lint", "state", "--plugins"]
    done = subprocess.run([*lint, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{plugin}:5: the class attribute Handler.seen" in done.stdout
    plugin.write_text("import os\n")
    assert subprocess.run([*lint, str(tmp_path)], cwd=ROOT, capture_output=True).returncode == 0
    plugin.write_text("def f(:\n")
    done = subprocess.run([*lint, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{plugin}:1:" in done.stderr


def test_the_sample_plugins_are_clean() -> None:
    done = subprocess.run([*COMMAND, "lint", "state"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
