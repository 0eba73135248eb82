"""Every case of the three acceptance lists has a test, or a reason to have none.

A test names its cases in the first line of its docstring, a step of a test names them in a comment:
"Tasks, case 25", "Lifecycle, cases 8 and 14".
"""

import re
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.glob("*/**/test_*.py"))
LENGTHS = {"lifecycle": 46, "configuration": 23, "tasks": 35}
REDIS = "there is no engine on Redis"
WITHOUT: dict[str, dict[int, str]] = {
    "lifecycle": {40: "custom processes are a kind that does not exist yet"},
    "configuration": {},
    "tasks": {
        17: "it asserts only a speed, which benchmarks/tasks.py compares with its bar",
        29: REDIS,
        30: REDIS,
        34: REDIS,
        35: "a soak, which benchmarks/soak.py compares with its bounds",
    },
}
CASES = re.compile(r"\b(Lifecycle|Configuration|Tasks), cases? (\d+(?: and \d+)*)", re.I)


def covered() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {name: set() for name in LENGTHS}
    for path in TESTS:
        text = path.read_text()
        for name, numbers in CASES.findall(text):
            found[name.lower()].update(map(int, numbers.split(" and ")))
    return found


@pytest.mark.parametrize("name", LENGTHS)
def test_every_case_of_a_list_has_a_test_or_a_reason_to_have_none(name: str) -> None:
    cases = set(range(1, LENGTHS[name] + 1))
    assert cases - covered()[name] == WITHOUT[name].keys()
    assert covered()[name] <= cases
