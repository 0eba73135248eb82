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
    instruments = Instruments(registry, "schedule")
    instruments.watch_garbage()
    subscribe(telemetry, instruments)
    # What can be counted of a command is shown at zero as soon as it is in force.
    telemetry.subscribe("cron.due", lambda fields: instruments.expect(cron=fields["cron"]))

    def build(boot: Boot, send: Send) -> ScheduleSlot:
        return ScheduleSlot(boot, send, telemetry, dict(os.environ))

    sys.exit(run(build, Framer(registry).next, PAGE.share()))
