"""The rules, as Debian's promtool reads and tries them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.boards import PROMETHEUS, RULES, alerts
from tests.packages import require

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "alerts.md"


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [require("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_rules_and_configuration() -> None:
    """40. The file with the token is not there."""
    assert "SUCCESS" in promtool("check", "rules", RULES.name)
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", "prometheus.yml")


def tried() -> dict[str, list[dict[str, Any]]]:
    tests = yaml.safe_load((PROMETHEUS / "rules.test.yml").read_text())["tests"]
    found: dict[str, list[dict[str, Any]]] = {}
    for test in tests:
        for check in test["alert_rule_test"]:
            found.setdefault(check["alertname"], []).append(check)
    return found


def test_every_alert_waits_fires_and_resolves() -> None:
    """40."""
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yml")
    checks = tried()
    assert checks.keys() == {alert["alert"] for alert in alerts()}
    for name, of_alert in checks.items():
        fires = [bool(check.get("exp_alerts")) for check in of_alert]
        assert fires == [False, True, False] * (len(fires) // 3), name


def test_every_alert_has_a_severity_a_time_and_a_paragraph_that_says_what_to_do() -> None:
    """40."""
    paragraphs = re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]
    by_title = {text.partition("\n")[0].strip(): text for text in paragraphs}
    assert by_title.keys() == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        name, notes = alert["alert"], alert["annotations"]
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert "for" in alert
        assert notes["summary"].endswith("."), name
        assert "{{" in notes["summary"], name
        assert notes["runbook_url"] == f"docs/howto/alerts.md#{name.lower()}"
        for question in ("**Means.**", "**Look.**", "**Do.**"):
            assert question in by_title[name], f"{name}: {question}"
