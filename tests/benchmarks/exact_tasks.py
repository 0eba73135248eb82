"""Thirty kills of workers and the store: the long version of the counters of tasks."""

import tempfile
from pathlib import Path

from tests.acceptance.test_exact_tasks import compare, kill_in_turn, till
from tests.benchmarks.figures import Figure

KILLS = 30


def measure() -> list[Figure]:
    """Return how many kills made a counter wrong; the first counter that is wrong fails."""
    with tempfile.TemporaryDirectory() as folder, till(Path(folder)) as bench:
        kill_in_turn(bench, KILLS)
        compare(bench)
    return [Figure(f"kills of {KILLS} after which a counter of tasks is wrong", 0, "", 0)]
