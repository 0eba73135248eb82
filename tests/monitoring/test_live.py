"""A real Prometheus scrapes a platform that is used, and in which things go wrong."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.certificate import certificate
from tests.monitoring.boards import (
    BOARDS,
    annotations,
    questions,
    substituted,
    variables,
)
from tests.monitoring.prometheus import Prometheus, prometheus
from tests.monitoring.workload import LIMIT, PlatformOnSmallDisk, Site, site
from tests.packages import require
from tests.support import PATIENCE, wait_until

pytestmark = pytest.mark.process

INTERVAL, SPAN = "4s", "20s"
# What shows nothing until something has gone wrong, and what it shows then: of these series.
INCIDENTS = {
    "Alerts A": [
        """ALERTS{job="j",instance="i",alertname="PlatformDown",alertstate="firing"}""",
        """ALERTS_FOR_STATE{job="j",instance="i",alertname="PlatformDown"}""",
    ],
}


@dataclass
class Watched:
    """A site that has been used, and what Prometheus knows of it."""

    site: Site
    prometheus: Prometheus


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with site(tmp_path, "--watch") as used:
        target = urlsplit(used.platform.admin).netloc
        with prometheus(tmp_path, target) as asked:
            used.deliver("endless", 1)
            used.use(1)
            # A rollout for a release, and one for code.
            begun = used.platform.status()["generation"]
            used.configs.publish(GREETING="Servus")
            wait_until(lambda: used.platform.status()["generation"] > begun)
            with (used.platform.plugins / "trouble.py").open("a") as file:
                file.write("# changed\n")
            wait_until(lambda: used.platform.status()["generation"] > begun + 1)
            used.use(3)
            yield Watched(used, asked)


def test_every_query_of_the_dashboards_returns_data_and_each_alert_fires(watched: Watched) -> None:
    """39, 40: in one test, because a platform and a Prometheus for each take longer."""
    assert_every_query_returns_data(watched.prometheus)
    assert_each_alert_fires_and_resolves(watched)


def assert_every_query_returns_data(asked: Prometheus) -> None:
    """Panels, annotations and variables, over the time since Prometheus was started."""
    # Two scrapes after the last use, rates have seen it.
    seen = float(asked.ask("query", query="time()")["result"][1])
    wait_until(lambda: float(asked.ask("query", query="time()")["result"][1]) > seen + 2)
    empty = []
    for name, board in BOARDS.items():
        for question in (*questions(board), *annotations(board)):
            if question.where in INCIDENTS:
                continue
            found = asked.values(substituted(question.expression, INTERVAL, SPAN))
            if all(value == "NaN" for series in found for _, value in series["values"]):
                empty.append(f"{name}: {question.where}")
        for question in variables(board):
            if not asked.choices(substituted(question.expression, INTERVAL, SPAN)):
                empty.append(f"{name}: variable {question.where}")
    assert not empty, "\n".join(empty)


def test_what_needs_an_incident_shows_it(tmp_path: Path) -> None:
    """39: promtool has the series."""
    asked = [q for board in BOARDS.values() for q in questions(board) if q.where in INCIDENTS]
    assert {question.where for question in asked} == INCIDENTS.keys()
    checks = []
    for question in asked:
        counted = [{"series": series, "values": "1+1x20"} for series in INCIDENTS[question.where]]
        expression = f"count({substituted(question.expression, '4m', '4m')})"
        sample = {"labels": "{}", "value": 1}
        check = {"expr": expression, "eval_time": "10m", "exp_samples": [sample]}
        checks.append({"interval": "1m", "input_series": counted, "promql_expr_test": [check]})
    (tmp_path / "incidents.yml").write_text(yaml.safe_dump({"tests": checks}))
    command = [require("promtool"), "test", "rules", "incidents.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# The alerts, and what goes wrong in the test of them.
FIRED = {
    "PlatformCertificateNearItsEnd": "the certificate ends in two days",
    "PlatformConfigRefused": "a release is refused",
    "PlatformConfigServerUnreachable": "the config server is stopped",
    "PlatformConfigStale": "the same, for longer",
    "PlatformDiskNearlyFull": "a file fills the disk",
    "PlatformTableAlmostFull": "a table is filled",
    "PlatformTaskQueueBacklog": "a paused queue is filled",
    "PlatformWorkerCrashLoop": "web workers are killed",
}

# Those of the config server.
AWAY = {"PlatformConfigServerUnreachable", "PlatformConfigStale"}


def assert_each_alert_fires_and_resolves(watched: Watched) -> None:
    """With seconds in place of minutes."""
    site, asked = watched.site, watched.prometheus
    expected = set(FIRED)
    disk = site.platform if isinstance(site.platform, PlatformOnSmallDisk) else None
    if disk is None:
        expected -= {"PlatformDiskNearlyFull"}
    # When everything goes wrong, the config server last: the longer it is away, the less often it
    # is asked
    site.configs.publish(ORDERS_RECEIPT_DELAY="soon")
    assert site.platform.cli("queue", "pause", "mail").returncode == 0
    site.deliver("mail", LIMIT * 9 // 10)
    kill_web_workers(site, 5)
    fill_table(site)
    ballast = disk.fill() if disk else None
    wait_until(lambda: fired(asked) >= expected - AWAY, interval=0.2)
    site.configs.stop()
    # Then each alert fires
    wait_until(lambda: asked.alerts().keys() >= AWAY, interval=0.2)
    wait_until(lambda: fired(asked) >= expected, interval=0.2)
    # When all of it is repaired
    if ballast:
        ballast.unlink()
    site.configs.start()
    site.configs.publish(ORDERS_RECEIPT_DELAY="0.1")
    assert site.platform.cli("queue", "resume", "mail").returncode == 0
    assert site.platform.cli("table", "clear", "trouble.Visits", "--yes").returncode == 0
    certificate(site.platform.directory, "site", days=365)
    # Then each resolves; without news from the config server one comes again after 8 s
    left = set(expected)

    def all_resolved() -> bool:
        left.intersection_update(asked.alerts())
        return not left

    wait_until(all_resolved, deadline=2 * PATIENCE, interval=0.2)


def fill_table(site: Site) -> None:
    """Fill a table with rows that stay, until one more is too many."""
    rows = site.platform.directory / "rows.jsonl"
    lines = (json.dumps({"key": str(n), "expires_in": 3600}) for n in range(95))
    rows.write_text("\n".join(lines))
    assert site.platform.cli("table", "clear", "trouble.Visits", "--yes").returncode == 0
    done = site.platform.cli("table", "load", "trouble.Visits", str(rows))
    assert done.returncode == 0, done.stderr


def kill_web_workers(site: Site, times: int) -> None:
    for _ in range(times):
        slot, pid = wait_until(lambda: [*site.platform.pids("web.0").items()])[0]
        site.platform.kill(pid)
        wait_until(partial(was_replaced, site, slot, pid))


def was_replaced(site: Site, slot: str, pid: int) -> bool:
    return site.platform.pids("web.0").get(slot, pid) != pid


def fired(asked: Prometheus) -> set[str]:
    """Return the alerts that have fired since the start."""
    return {found["metric"]["alertname"] for found in asked.values('ALERTS{alertstate="firing"}')}
