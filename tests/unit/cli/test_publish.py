"""`platform config publish --server`, where no platform runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from skep.base.errors import ConfigError, PlatformError, UsageError
from skep.cli.config.publish import publish
from tests.configserver import RunningConfigServer, running_config_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    (tmp_path / "there").mkdir()
    with running_config_server(tmp_path / "there") as running:
        yield running


def run(tmp_path: Path, *words: str) -> str:
    where = ["--data-dir", str(tmp_path / "here"), "--env-file", str(tmp_path / ".env")]
    return CliRunner().invoke(publish, [*words, *where], catch_exceptions=False).stdout


def test_it_publishes_on_another_server(server: RunningConfigServer, tmp_path: Path) -> None:
    token = tmp_path / "there" / "token"
    there = ["--server", server.url, "--token-file", str(token), "--app", "shop"]
    there += ["--cluster", "blue", "--namespace", "db"]
    assert "Published HOST in db: release " in run(tmp_path, *there, "HOST=a")
    run(tmp_path, *there, "PORT=1", "--delete", "HOST")
    found = server.config("db", app_id="shop", cluster="blue").json()
    assert (found["cluster"], found["configurations"]) == ("blue", {"PORT": "1"})


def test_a_missing_or_wrong_token_is_named(server: RunningConfigServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--token-file"):
        run(tmp_path, "--server", server.url, "A=1")
    with pytest.raises(UsageError, match="goes with --server"):
        run(tmp_path, "--token-file", "x", "A=1")
    with pytest.raises(PlatformError, match="No such file"):
        run(tmp_path, "--server", server.url, "--token-file", str(tmp_path / "none"), "A=1")
    (tmp_path / "wrong").write_text("wrong\n")
    with pytest.raises(ConfigError, match="status 401"):
        run(tmp_path, "--server", server.url, "--token-file", str(tmp_path / "wrong"), "A=1")
