"""`python -P -m skep.schedule`: the schedule slot."""

import os
import sys

from prometheus_client import CollectorRegistry

from skep.base.telemetry import Telemetry
from skep.metrics.counter_page import PAGE
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.page_values import keep_in_page
from skep.metrics.subscriber import subscribe
from skep.schedule.slot import ScheduleSlot
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send, run

if __name__ == "__main__":
    keep_in_page()
    registry, telemetry = CollectorRegistry(), Telemetry()
    # Commands are counted as crons are.
    instruments = Instruments(registry, "schedule", also=("cron",))
    instruments.watch_garbage()
    subscribe(telemetry, instruments)

    def build(boot: Boot, send: Send) -> ScheduleSlot:
        return ScheduleSlot(boot, send, telemetry, dict(os.environ))

    sys.exit(run(build, Framer(registry).next, PAGE.share()))
