"""`python -P -m skep.agent`: the agent slot."""

import sys
from functools import partial

from prometheus_client import CollectorRegistry

from skep.agent.agent import Agent
from skep.base.telemetry import Telemetry
from skep.metrics.counter_page import PAGE
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.page_values import keep_in_page
from skep.metrics.subscriber import subscribe
from skep.wire.platform_slot import run

if __name__ == "__main__":
    keep_in_page()
    registry = CollectorRegistry()
    telemetry = Telemetry()
    instruments = Instruments(registry, "agent")
    instruments.watch_garbage()
    subscribe(telemetry, instruments)
    build = partial(Agent, telemetry=telemetry)
    sys.exit(run(build, Framer(registry).next, PAGE.share()))
