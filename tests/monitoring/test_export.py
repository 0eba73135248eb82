"""`platform dashboards export`, from the tree and from an installed wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.monitoring.boards import BOARDS, GRAFANA, RULES
from tests.platform_process import ROOT


def export(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "skep", "dashboards", "export", *arguments],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )


def written(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()}


def test_what_is_exported_from_the_tree_is_what_is_committed(tmp_path: Path) -> None:
    done = export(ROOT / "platform", "--out", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    texts = written(tmp_path / "new")
    assert {f"dashboards/{name}" for name in BOARDS} <= texts.keys()
    assert all(text == (GRAFANA / name).read_text() for name, text in texts.items())
    assert {"prometheus/rules.yml", "prometheus/prometheus.yml"} <= texts.keys()


def test_a_wheel_brings_the_same_files(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    for package, out in ((tmp_path / "site", "wheel"), (ROOT / "platform", "tree")):
        done = export(package, "--out", str(tmp_path / out))
        assert done.returncode == 0, done.stderr
    assert written(tmp_path / "wheel") == written(tmp_path / "tree")


def test_a_changed_file_is_kept_and_the_links_lead_where_one_says(tmp_path: Path) -> None:
    out = str(tmp_path)
    assert export(ROOT / "platform", "--out", out).returncode == 0
    mine = tmp_path / "prometheus" / "rules.yml"
    mine.write_text("groups: []\n")
    refused = export(ROOT / "platform", "--out", out)
    assert refused.returncode == 2
    assert f"{mine} exists and differs" in refused.stderr
    assert mine.read_text() == "groups: []\n"
    url = "https://wiki.example/alerts"
    assert export(ROOT / "platform", "--out", out, "--force", "--runbooks", url).returncode == 0
    assert f"runbook_url: {url}#platformdown" in mine.read_text()
    assert mine.read_text().count(url) == RULES.read_text().count("runbook_url")
