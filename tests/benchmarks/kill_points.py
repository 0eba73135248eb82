"""kill -9 of the supervisor at fifty points of fifty publishes: the long version of case 7."""

import tempfile
from pathlib import Path

from tests.acceptance.test_following import follow, kill_at_points
from tests.benchmarks.figures import Figure
from tests.faulty import TinyApollo
from tests.platform_process import Platform

POINTS = 50


def measure() -> list[Figure]:
    """Return how many kills left anything but one whole version; the first that does fails."""
    with tempfile.TemporaryDirectory() as folder, TinyApollo() as server:
        server.publish(NUMBER="1")
        platform = follow(Platform(Path(folder)), server)
        try:
            kill_at_points(platform, server, POINTS)
        finally:
            platform.stop()
    return [Figure(f"kills of {POINTS} that left no whole version", 0, "", 0)]
