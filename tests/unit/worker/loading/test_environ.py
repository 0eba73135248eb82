"""An environment that remembers what was read. Each test has an interpreter of its own."""

import subprocess
import sys
import textwrap

PRELUDE = """
import os, subprocess, sys
os.environ["A"] = "1"
os.environ["B"] = "2"
from skep.worker.loading.environ import install
environ = install()
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_way_of_reading_one_key_is_remembered() -> None:
    run("""
    assert not environ.was_read("A")
    os.getenv("A"); assert environ.was_read("A") and not environ.was_read("B")
    assert "B" in os.environ and environ.was_read("b")
    os.environ.get("MISSING"); assert environ.was_read("MISSING")
    """)


def test_whoever_takes_all_has_read_all() -> None:
    run("""
    dict(os.environ)
    assert environ.was_read("ANYTHING")
    """)
    run("""
    os.environ.copy()
    assert environ.was_read("ANYTHING")
    """)


def test_what_libc_and_the_interpreter_have_looked_at_has_been_read() -> None:
    run("""
    assert environ.was_read("TZ") and environ.was_read("LC_ALL")
    assert environ.was_read("PYTHONHASHSEED")
    """)


def test_looking_at_it_ourselves_does_not_count() -> None:
    run("""
    assert environ.snapshot()["A"] == "1"
    assert not environ.was_read("A")
    """)


def test_a_change_reaches_this_process_and_those_it_starts() -> None:
    run("""
    environ.change({"A": "new", "B": None, "C": "3", "GONE": None})
    assert not environ.was_read("A") and not environ.was_read("C")
    assert (os.environ["A"], os.environ.get("B"), os.environ["C"]) == ("new", None, "3")
    out = subprocess.run(["sh", "-c", "echo $A-$B-$C"], capture_output=True, text=True).stdout
    assert out == "new--3\\n", out
    """)


def test_writing_works_as_before_and_installing_twice_changes_nothing() -> None:
    run("""
    assert install() is environ
    os.environ["D"] = "4"
    del os.environ["A"]
    assert os.environ.pop("D") == "4"
    try:
        os.environ["E"] = 5
    except TypeError:
        pass
    else:
        raise AssertionError
    """)
