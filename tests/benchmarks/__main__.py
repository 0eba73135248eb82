"""`make bench`: measure, and print what was measured beside the bar it is held against."""

import sys
from collections.abc import Callable, Iterable

from tests.benchmarks import (
    config_server,
    crons,
    endurance,
    exact_tasks,
    kill_points,
    memory,
    metrics,
    neighbours,
    processes,
    publish,
    reloads,
    request_cost,
    restart,
    soak,
    tables,
    tasks,
    websockets,
)
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import contest

MEASUREMENTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "request_cost": request_cost.measure,
    "publish": publish.measure,
    "config_server": config_server.measure,
    "restart": restart.measure,
    "reloads": reloads.measure,
    "memory": memory.measure,
    "tasks": tasks.measure,
    "neighbours": neighbours.measure,
    "endurance": endurance.measure,
    "soak": soak.measure,
    "peers": contest.measure,
    "websockets": websockets.measure,
    "kill_points": kill_points.measure,
    "metrics": metrics.measure,
    "exact_tasks": exact_tasks.measure,
    "tables": tables.measure,
    "crons": crons.measure,
    "processes": processes.measure,
}


def main() -> int:
    """Run all, or those named as arguments; 1 if a bar is missed."""
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    good = True
    for name in wanted:
        print(f"— {name}", flush=True)
        for figure in MEASUREMENTS[name]():
            print(figure, flush=True)
            good = good and figure.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
