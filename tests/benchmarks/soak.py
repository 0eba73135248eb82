"""Ten minutes of deliveries while children are killed and generations replaced."""

import tempfile
from pathlib import Path

from tests.acceptance.workbench import workbench
from tests.benchmarks.figures import Figure
from tests.soak import soak

SECONDS, RATE = 600.0, 200.0
AT_A_TIME = 16
MEBIBYTE = 1024 * 1024


def measure() -> list[Figure]:
    """Return what was missing, what ran twice, and what the supervisor gathered."""
    with tempfile.TemporaryDirectory() as folder, workbench(Path(folder)) as bench:
        soaked = soak(bench, SECONDS, RATE)
    third = len(soaked.rss) // 3
    kills = soaked.kills.total()
    growth = (max(soaked.rss[-third:]) - max(soaked.rss[:third])) / MEBIBYTE
    told = f"{len(soaked.confirmed)} delivered, {kills} kills, {soaked.reloads} rollouts"
    return [
        Figure("soak: tasks that never ended", len(soaked.missing), "", 0, told),
        Figure("soak: ends beyond the first", soaked.duplicates, "", kills * AT_A_TIME),
        Figure("soak: more descriptors in the supervisor", soaked.leaked, "", 0),
        Figure("soak: more memory in the supervisor", growth, "MiB", 16),
    ]
