"""The files that bring up the platform, Prometheus and Grafana together."""

from pathlib import Path
from typing import Any

import yaml

from skep.config.options.table import rows
from tests.monitoring.boards import BOARDS, GRAFANA, PROMETHEUS


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_every_file_that_the_stack_mounts_is_there_and_every_setting_exists() -> None:
    services = read(GRAFANA / "compose.yaml")["services"]
    assert services.keys() == {"platform", "prometheus", "grafana"}
    for service in services.values():
        for volume in service.get("volumes", []):
            here = volume.partition(":")[0]
            assert not here.startswith(".") or (GRAFANA / here).exists(), here
    keys = {key for key in services["platform"]["environment"] if key.startswith("PLATFORM_")}
    assert keys <= {row.key for row in rows()}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).name in BOARDS


def test_grafana_knows_how_often_prometheus_scrapes_and_where_the_dashboards_are() -> None:
    """`$__rate_interval` is four times `timeInterval`: a rate needs two scrapes."""
    (source,) = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    configuration = read(PROMETHEUS / "prometheus.yml")
    assert source["jsonData"]["timeInterval"] == configuration["global"]["scrape_interval"]
    (provider,) = read(GRAFANA / "provisioning" / "dashboards" / "platform.yml")["providers"]
    mounts = read(GRAFANA / "compose.yaml")["services"]["grafana"]["volumes"]
    assert f"./dashboards:{provider['options']['path']}:ro" in mounts
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    assert jobs["platform"]["static_configs"][0]["targets"] == ["platform:5201"]
