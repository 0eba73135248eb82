"""`python -P -m skep.agent`: the agent slot."""

import sys

from prometheus_client import CollectorRegistry

from skep.agent.agent import Agent
from skep.base.telemetry import Telemetry
from skep.metrics.counter_page import PAGE
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.page_values import keep_in_page
from skep.metrics.subscriber import subscribe
from skep.wire.messages import Boot
from skep.wire.platform_slot import Send, run

if __name__ == "__main__":
    keep_in_page()
    registry = CollectorRegistry()
    telemetry = Telemetry()
    instruments = Instruments(registry, "agent")
    instruments.watch_garbage()
    subscribe(telemetry, instruments)

    def build(boot: Boot, send: Send) -> Agent:
        agent = Agent(boot, send, telemetry)
        for namespace in agent.namespaces:
            instruments.expect(namespace=namespace)
        return agent

    sys.exit(run(build, Framer(registry).next, PAGE.share()))
