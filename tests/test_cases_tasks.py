"""Every case of the acceptance list for tasks has a test of its number, or a reason to have none.

Other lists number their cases alike, so the files say which list is meant.
"""

import re
from pathlib import Path

TESTS = Path(__file__).parent
FILES = (
    "acceptance/test_tasks.py",
    "acceptance/test_task_chaos.py",
    "process/test_task_deaths.py",
    "process/test_store_chaos.py",
    "unit/testing/test_orders.py",
    "unit/worker/tasks/test_tasks.py",
)
CRON = "crons have a list of their own"
REDIS = "there is no engine on Redis"
WITHOUT = {
    17: "nothing but a speed, which benchmarks/tasks.py holds to its bar",
    29: REDIS,
    30: REDIS,
    31: CRON,
    32: CRON,
    33: CRON,
    34: REDIS,
    35: "a soak, which benchmarks/soak.py holds to its bounds",
}


def test_every_case_of_the_acceptance_list_for_tasks_has_a_test_of_its_number() -> None:
    texts = [(TESTS / name).read_text() for name in FILES]
    found = {int(n) for text in texts for n in re.findall(r"^def test_case_(\d\d)_", text, re.M)}
    assert set(range(1, 36)) - found == set(WITHOUT)
    assert not found & set(WITHOUT)
