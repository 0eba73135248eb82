"""Draw the dashboards for the docs: `make pictures`.

A platform is used for some minutes, a release and code are rolled out, another release is refused,
workers are killed; then each dashboard is drawn from what Prometheus has seen.
"""

import contextlib
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from grafana.pictures.draw import draw
from tests.monitoring.boards import BOARDS, substituted
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.monitoring.workload import Site, site

IMAGES = Path(__file__).parents[2] / "docs" / "images" / "dashboards"
# Seconds between what happens.
PAUSE = 20.0


def happen(used: Site) -> None:
    """Roll out, refuse, crash."""
    used.deliver("endless", 1)
    used.use(2 * PAUSE)
    used.configs.publish(GREETING="Servus")
    used.use(PAUSE)
    used.configs.publish(ORDERS_RECEIPT_DELAY="soon")
    used.use(PAUSE)
    used.configs.publish(ORDERS_RECEIPT_DELAY="0.1")
    used.use(PAUSE)
    with (used.platform.plugins / "trouble.py").open("a") as file:
        file.write("# changed\n")
    used.use(PAUSE)
    for pid in used.platform.pids("web.0").values():
        used.platform.kill(pid)
    used.use(PAUSE)


def paint(asked: Prometheus) -> None:
    """Draw every dashboard."""

    def ask(expression: str, instant: bool) -> list[dict[str, Any]]:
        query = substituted(expression, "15s", f"{int(7 * PAUSE)}s")
        if instant:
            found: list[dict[str, Any]] = asked.ask("query", query=query)["result"]
            return found
        return asked.values(query)

    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, board in BOARDS.items():
        draw(board, ask, IMAGES / name.replace(".json", ".png"))


def main() -> int:
    """Use a platform, and draw."""
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), "--watch", days=90) as used:
        target = urlsplit(used.platform.admin).netloc
        with prometheus(Path(folder), target, instance="shop-1:5201", stale=900) as asked:
            stop = threading.Event()
            others = [threading.Thread(target=browse, args=(used, stop)) for _ in range(2)]
            for other in others:
                other.start()
            happen(used)
            paint(asked)
            stop.set()
            for other in others:
                other.join()
    return 0


def browse(used: Site, stop: threading.Event) -> None:
    """Be another client, whose connections may be cut when a worker is killed."""
    client = Site(used.platform, used.configs)
    while not stop.is_set():
        with contextlib.suppress(httpx.TransportError, OSError, EOFError):
            client.use(2)
    client.close()


if __name__ == "__main__":
    sys.exit(main())
