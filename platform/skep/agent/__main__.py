"""`python -P -m skep.agent`: the agent slot."""

import sys
from functools import partial

from prometheus_client import CollectorRegistry

from skep.agent.agent import Agent
from skep.base.telemetry import Telemetry
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.subscriber import subscribe
from skep.wire.platform_slot import run

if __name__ == "__main__":
    registry = CollectorRegistry()
    telemetry = Telemetry()
    subscribe(telemetry, Instruments(registry, "agent"))
    sys.exit(run(partial(Agent, telemetry=telemetry), Framer(registry).next))
