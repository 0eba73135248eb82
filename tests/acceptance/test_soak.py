"""A minute of deliveries under kills and rollouts; `make bench` does ten."""

from pathlib import Path

from tests.acceptance.workbench import workbench
from tests.soak import soak

AT_A_TIME = 16
MEBIBYTE = 1024 * 1024


def test_case_35_nothing_is_missing_after_a_minute_of_kills_and_rollouts(tmp_path: Path) -> None:
    with workbench(tmp_path, PLATFORM_DRAIN_TIMEOUT="10") as bench:
        soaked = soak(bench, seconds=60, rate=100, kills=10)
        assert len(soaked.confirmed) >= 1000
        assert soaked.missing == set()
        assert soaked.duplicates <= soaked.kills.total() * AT_A_TIME
        # What failed at first was tried again
        assert bench.verb("dead", "ls") == []
        third = len(soaked.rss) // 3
        assert soaked.leaked <= 0
        assert soaked.rss[-1] <= max(soaked.rss[:third]) + 16 * MEBIBYTE
