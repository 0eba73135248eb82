"""Every conformance case of an Apollo config service has a test."""

import re
from pathlib import Path

CASE = re.compile(r'"""(C\d+(?:, C\d+)*)\.')


def test_every_case_has_a_test() -> None:
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    found = {
        int(number)
        for text in texts
        for cases in CASE.findall(text)
        for number in re.findall(r"\d+", cases)
    }
    assert found == set(range(1, 109))
