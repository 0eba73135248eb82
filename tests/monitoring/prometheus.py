"""A real Prometheus over the rules of the tree, asked through its API."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.monitoring.boards import RULES
from tests.packages import require
from tests.support import free_port, wait_until

STEP = 1.0


class Prometheus:
    """One that scrapes; `begun` is since when, in Unix time."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.begun = time.time()
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=30)

    def close(self) -> None:
        """End it; nothing of it is needed any more."""
        self._http.close()
        self._process.kill()
        self._process.wait()

    def ask(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer; an expression that is wrong fails the test."""
        answer = self._http.get(path, params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def values(self, expression: str, step: float = STEP) -> list[dict[str, Any]]:
        """Return the series of an expression from the beginning until now."""
        span = {"start": self.begun, "end": time.time(), "step": step}
        found: list[dict[str, Any]] = self.ask("query_range", query=expression, **span)["result"]
        return found

    def choices(self, query: str) -> list[str]:
        """Return what Grafana's `label_values(selector, label)` offers."""
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert found, query
        selector, label = found.groups()
        answer: list[str] = self.ask(f"label/{label}/values", **{"match[]": selector})
        return answer

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert that is pending or firing, by name."""
        return {a["labels"]["alertname"]: a["state"] for a in self.ask("alerts")["alerts"]}

    def is_up(self) -> bool:
        """Return whether the platform was scraped."""
        try:
            answer = self._http.get("query", params={"query": 'up{job="platform"} == 1'})
        except httpx.TransportError:
            return False
        # It answers 503 until it has read its files.
        return answer.status_code == 200 and bool(answer.json()["data"]["result"])


def hurried(rules: str, stale: int) -> str:
    """Return the rules for a live run: seconds in place of minutes; `stale` are the seconds after
    which a configuration is."""
    rules = re.sub(r"\bfor: \w+", "for: 1s", rules)
    rules = re.sub(r"\[\d+[mhd]\]", "[6s]", rules)
    return rules.replace("> 900", f"> {stale}")


@contextmanager
def prometheus(
    folder: Path, target: str, *, instance: str = "", stale: int = 8
) -> Iterator[Prometheus]:
    """Run one until the end of the block; wait for the first scrape."""
    rules = RULES.read_text()
    (folder / "rules.yml").write_text(hurried(rules, stale))
    scrape = {
        "job_name": "platform",
        "scheme": "https",
        "tls_config": {"insecure_skip_verify": True},
        "static_configs": [
            {"targets": [target], "labels": {"instance": instance} if instance else {}}
        ],
    }
    configuration = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        require("prometheus"),
        *(f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    made = Prometheus(f"http://127.0.0.1:{port}", process)
    try:
        wait_until(made.is_up)
        yield made
    finally:
        made.close()
