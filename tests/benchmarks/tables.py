"""Shared tables: what an increment and a read cost, by two processes at once on one row."""

import subprocess
import tempfile
import time

from tests.benchmarks.figures import Figure, median, spread
from tests.process.store_child import start_python

ROUNDS, TIMES, PROCESSES = 7, 200_000, 2
_CHILD = """
import os, sys
sys.path.insert(0, "")
from typing import Annotated
from skep import Table

class Hits(Table, rows=1000, name="hits"):
    n: int
    name: Annotated[str, 32] = "a name"

Hits.increment("all", "n", 0)
sys.stdout.write("ready\\n")
sys.stdout.flush()
what, times = sys.stdin.readline().split()
if what == "read":
    for _ in range(int(times)):
        Hits.get("all")
else:
    for _ in range(int(times)):
        Hits.increment("all", "n")
"""


def measure() -> list[Figure]:
    """Return microseconds per operation of all processes together."""
    costs = {what: [_round(what) for _ in range(ROUNDS)] for what in ("increment", "read")}
    # 150 000 increments and 500 000 reads a second.
    bars = {"increment": 1e6 / 150_000, "read": 1e6 / 500_000}
    return [
        Figure(f"table: one {what}, {PROCESSES} processes", median(costs[what]), "us", bars[what],
               f"{1e6 / median(costs[what]):,.0f} a second; {spread(costs[what])}")
        for what in costs
    ]  # fmt: skip


def _round(what: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        children = [_start(folder) for _ in range(PROCESSES)]
        began = time.perf_counter()
        for child in children:
            assert child.stdin
            child.stdin.write(f"{what} {TIMES}\n".encode())
            child.stdin.close()
        codes = [child.wait() for child in children]
        seconds = time.perf_counter() - began
        assert codes == [0] * PROCESSES
        for child in children:
            assert child.stdout
            child.stdout.close()
    return seconds / (TIMES * PROCESSES) * 1e6


def _start(folder: str) -> subprocess.Popen[bytes]:
    child = start_python(
        "-c", _CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"PLATFORM_DATA_DIR": folder, "PYTHONPATH": "platform"},
    )  # fmt: skip
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    return child
