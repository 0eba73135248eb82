"""What metrics cost: one request in a web worker, one frame, one scrape."""

import json
import time
import timeit
from collections.abc import Callable

import prometheus_client
from prometheus_client import CollectorRegistry

from skep.base.telemetry import Telemetry
from skep.metrics.exposition import render_openmetrics
from skep.metrics.frames import Framer
from skep.metrics.instruments import Instruments
from skep.metrics.subscriber import subscribe
from skep.metrics.web import HttpMetrics
from skep.supervisor.metrics.ledger import Ledger

ROUTES = [f"/things/{{id}}/{number}" for number in range(15)]
WORKERS = 8


def main() -> None:
    """Print a table; microseconds of CPU each, the best of several runs."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    http = HttpMetrics(Instruments(registry, "web"), lambda: 0)

    def request(route: str = ROUTES[0]) -> None:
        http.begin()
        http.end("GET", route, 200, 0.012, 0, 1200)

    def busy() -> None:
        for route in ROUTES[:5]:
            request(route)
        framer.next()

    for route in ROUTES:
        request(route)
    series = sum(len(metric.samples) for metric in registry.collect())
    framer, ledger = Framer(registry), Ledger()
    frame = json.loads(json.dumps(framer.next()))
    for number in range(WORKERS):
        ledger.absorb(f"web.{number}@1", frame)
    families = ledger.families()

    row("one request", cost(request, 50_000))
    row("one finished task (two rules)", cost(_task(), 50_000))
    row(f"one frame, {series} series, nothing changed", cost(framer.next, 300))
    row(f"one frame, {series} series, 5 routes served", cost(busy, 300))
    row("absorb a whole first frame", cost(lambda: ledger.absorb("web.0@1", frame), 300))
    row(f"merge {WORKERS} workers for a scrape", cost(ledger.families, 300))
    row("render the page", cost(lambda: render_openmetrics(families), 100))


def _task() -> Callable[[], None]:
    telemetry = Telemetry()
    subscribe(telemetry, Instruments(CollectorRegistry(), "task"))
    fields = {"task": "orders.Send", "queue": "mail", "outcome": "success", "seconds": 0.2}
    return lambda: telemetry.point("task.finished", **fields)


def cost(act: Callable[[], object], times: int) -> float:
    """Microseconds of this process's CPU time for one."""
    runs = timeit.repeat(act, number=times, repeat=5, timer=time.process_time)
    return min(runs) / times * 1e6


def row(name: str, microseconds: float) -> None:
    """Print one line."""
    print(f"{name:<50} {microseconds:>10.2f} µs")


if __name__ == "__main__":
    main()
