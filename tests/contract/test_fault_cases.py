"""The catalogue of what a config server can do to its client is covered, case by case.

A test names its cases at the start of its docstring: `F13, F14.`
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
CASES = {f"F{number:02}" for number in range(1, 53)}


def test_every_fault_case_has_a_test() -> None:
    named: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                head = re.match(r"(?:F\d\d(?:, )?)+", ast.get_docstring(node) or "")
                named.update(re.findall(r"F\d\d", head[0]) if head else ())
    assert sorted(CASES - named) == []
    assert sorted(named - CASES) == []
