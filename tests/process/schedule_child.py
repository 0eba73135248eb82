"""A process with a schedule whose minutes take 0.2 s; it writes down what it reports."""

import asyncio
import json
import os
import sys
import time
from datetime import UTC
from pathlib import Path
from typing import Any

from skep.base.telemetry import Telemetry
from skep.schedule import journal
from skep.schedule.crontab import parse
from skep.schedule.schedule import Schedule

SPEED = 300.0
CRONTAB = "# platform: name=a overlap=allow misfire=once\n* * * * * echo x >> $OUT/ran\n"


async def main(directory: Path, epoch: float) -> None:
    """Run until it is killed. All processes with one epoch have one clock."""
    telemetry = Telemetry()
    points = os.open(directory / "points", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(name: str, fields: dict[str, Any]) -> None:
        os.write(points, json.dumps({"point": name, **fields}).encode() + b"\n")

    for name in ("cron.started", "cron.misfired"):
        telemetry.subscribe(name, lambda fields, name=name: write(name, fields))  # type: ignore[misc]
    schedule = Schedule(
        journal.opened(directory / "journal.json"),
        telemetry,
        {**os.environ, "OUT": str(directory)},
        lambda: epoch + (time.time() - epoch) * SPEED,
        lambda: None,
    )
    schedule.recover()
    schedule.take(parse(CRONTAB, "jobs", UTC))
    write("taken", {"last": schedule.journal.moments["a"].moment})
    while True:
        schedule.look()
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
