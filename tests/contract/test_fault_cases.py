"""The catalogue of what a config server can do to its client is covered, case by case."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
CASES = {f"f{number:02}" for number in range(1, 53)}


def test_every_fault_case_has_a_test() -> None:
    named: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        for head in re.findall(r"^(?:async )?def test_((?:f\d\d_)+)", path.read_text(), re.M):
            named.update(head.strip("_").split("_"))
    assert sorted(CASES - named) == []
    assert sorted(named - CASES) == []
