"""Every case of the list of lifecycle, 1 to 46, has a test.

Three lists of cases share the way in which tests are named, `test_case_NN_…`: lifecycle,
configuration, tasks. In the files named here the numbers are those of lifecycle, in the name of a
test or of a step of it (`# Case NN: …`); elsewhere such a test says `lifecycle_case_NN`.
"""

import re
from pathlib import Path

ACCEPTANCE = Path(__file__).parent / "acceptance"
LIFECYCLE = (
    "test_bad_start.py",
    "test_code_change.py",
    "test_crash.py",
    "test_daemon.py",
    "test_kill.py",
    "test_reload.py",
    "test_security.py",
    "test_service_manager.py",
    "test_stop.py",
    "test_task_reload.py",
    "test_upkeep.py",
    "test_verbs.py",
)
AWAITED = {40: "custom processes are a kind that does not exist yet"}

_NUMBERS = r"(\d\d(?:_and_\d\d)*)_"
_OWN = re.compile(rf"def test_case_{_NUMBERS}")
_STEP = re.compile(r"# Cases? (\d+)")
_ELSEWHERE = re.compile(rf"def test_\w*?lifecycle_case_{_NUMBERS}")


def numbers(pattern: re.Pattern[str], text: str) -> set[int]:
    return {int(n) for found in pattern.findall(text) for n in found.split("_and_")}


def covered() -> set[int]:
    found: set[int] = set()
    for path in ACCEPTANCE.glob("test_*.py"):
        text = path.read_text()
        found |= numbers(_ELSEWHERE, text)
        if path.name in LIFECYCLE:
            found |= numbers(_OWN, text) | numbers(_STEP, text)
    return found


def test_every_case_of_lifecycle_is_tested_or_awaits_what_does_not_exist_yet() -> None:
    assert set(range(1, 47)) - covered() == AWAITED.keys()


def test_the_files_whose_numbers_are_those_of_lifecycle_are_there() -> None:
    assert [name for name in LIFECYCLE if not (ACCEPTANCE / name).exists()] == []
