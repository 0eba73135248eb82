"""kill -9 of a schedule at random moments: no moment is lost unseen, and none runs twice."""

import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from skep.schedule import journal
from tests.support import wait_until

pytestmark = pytest.mark.process

KILLS = 20


def test_every_moment_runs_at_most_once_or_is_counted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.process.schedule_child", str(tmp_path)]
    command.append(str(time.time()))
    chance = random.Random(13)
    uncertain = 0
    for _ in range(KILLS):
        child = subprocess.Popen(command)
        seen = len(points(tmp_path))
        # Each has done something, and then dies anywhere in one of its minutes.
        wait_until(lambda n=seen: len(points(tmp_path)) > n + 1)  # type: ignore[misc]
        for _ in range(chance.randrange(1, 400)):
            journal.opened(tmp_path / "journal.json")
        child.kill()
        child.wait()
        # What was noted and not begun is reported as cut off by the next one.
        kept = journal.opened(tmp_path / "journal.json")
        uncertain += sum(run.pid == 0 for run in kept.runs)
    reported = points(tmp_path)
    last = journal.opened(tmp_path / "journal.json").moments["a"].moment
    # The first process begins between two moments, which are whole minutes.
    moments = math.floor((last - reported[0]["last"]) / 60) + 1
    started = sum(one["point"] == "cron.started" for one in reported)
    missed = sum(one.get("count", 0) for one in reported if one["point"] == "cron.misfired")
    assert started + missed + uncertain >= moments
    ran = (tmp_path / "ran").read_text().count("x")
    assert 0 < ran <= started + uncertain
    assert started <= moments


def points(directory: Path) -> list[dict[str, Any]]:
    path = directory / "points"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
