import json
import subprocess
import sys
from typing import Any

import pytest

from skep.metrics.exposition import render_text
from skep.supervisor.metrics.ledger import Ledger

pytestmark = pytest.mark.process

# A plugin's metrics in the default registry, the platform's in one of their own; a line per flush.
WORKER = """
import json, sys
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from skep.metrics.frames import Framer, adopt_process
from skep.metrics.instruments import Instruments
from skep.metrics.web import HttpMetrics
adopt_process()
ours = CollectorRegistry()
http = HttpMetrics(Instruments(ours, "web"), lambda: 0)
orders = Counter("orders", "Orders.")
Gauge("warm", "Warm.").set(1)
framer = Framer(ours, REGISTRY)
for line in sys.stdin:
    for _ in range(int(line)):
        http.begin()
        http.end("GET", "/orders/{id}", 200, 0.01)
        orders.inc()
    if not line.endswith(" \\n"):
        print(json.dumps(framer.next(), allow_nan=False), flush=True)
"""


class Worker:
    """A real process that serves as many requests as it is told, and then flushes."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER], stdin=pipe, stdout=pipe, text=True
        )

    def serve(self, requests: int) -> None:
        self._tell(f"{requests}\n")
        assert self._child.stdout is not None
        assert self._ledger.absorb(self._name, json.loads(self._child.stdout.readline()))

    def serve_without_flush(self, requests: int) -> None:
        # A blank at the end of the line means: do not flush.
        self._tell(f"{requests} \n")

    def kill(self) -> None:
        self._child.kill()
        self._child.communicate()
        self._ledger.forget(self._name)

    def _tell(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line)
        self._child.stdin.flush()


def value(ledger: Ledger, name: str) -> Any:
    return [v for f in ledger.families() if f["name"] == name for _, v in f["series"]]


def test_totals_survive_the_kill_of_workers_and_their_gauges_do_not() -> None:
    ledger = Ledger()
    # Given two workers that have served and flushed
    first, second = Worker(ledger, "web.0@1"), Worker(ledger, "web.1@1")
    first.serve(300)
    second.serve(20)
    assert value(ledger, "warm") == [2]
    # When one is killed with something it has not flushed
    first.serve_without_flush(5)
    first.kill()
    # Then what it flushed is still counted, and its gauge is gone
    assert value(ledger, "platform_http_requests_total") == [320]
    assert value(ledger, "orders_total") == [320]
    assert value(ledger, "warm") == [1]
    # And the one in its place adds to it
    third = Worker(ledger, "web.0@1")
    third.serve(7)
    second.serve(3)
    assert value(ledger, "platform_http_requests_total") == [330]
    second.kill()
    third.kill()
    assert value(ledger, "warm") == []
    page = render_text(ledger.families())
    assert (
        'platform_http_requests_total{method="GET",route="/orders/{id}",status="200"} 330' in page
    )
    assert "process_resident_memory_bytes" not in page
    assert "python_info" not in page
