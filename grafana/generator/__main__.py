"""Write grafana/dashboards: `make dashboards`."""

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.generator.config import config
from grafana.generator.http import http
from grafana.generator.overview import overview
from grafana.generator.realtime import realtime
from grafana.generator.work import tasks_events_crons
from grafana.generator.workers import workers_and_rollouts

DASHBOARDS = Path(__file__).parents[1] / "dashboards"
BOARDS = (overview, http, workers_and_rollouts, tasks_events_crons, config, realtime)


def rendered() -> dict[str, str]:
    """Return the text of each file in grafana/dashboards."""
    return {f"{board.uid}.json": _text(board) for board in (make() for make in BOARDS)}


def _text(board: Dashboard) -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(board) + "\n"


def main() -> int:
    """Write every dashboard."""
    for name, text in rendered().items():
        (DASHBOARDS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
