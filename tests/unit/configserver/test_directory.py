"""The config server of a data directory, as the platform and `platform config-server` open it."""

import asyncio
import logging
import stat
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from skep.base.errors import ConfigError
from skep.config.options.table import Options
from skep.configserver.directory import opened
from tests.contract.apollo.target import sign

PATH = "/configs/{app}/default/application"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    (tmp_path / "configserver").mkdir()
    samples = tmp_path / "samples"
    for app in ("sample", "other"):
        (samples / app / "default").mkdir(parents=True)
        (samples / app / "default" / "application.properties").write_text("k=v\n")
    return Options(data_dir=str(tmp_path), config_samples=str(samples), app_id="sample")


def statuses(options: Options, *asks: tuple[str, str]) -> list[int]:
    """Return the status of each request for an app, signed with a secret if there is one."""

    async def scenario() -> list[int]:
        async with opened(options) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                requests = [signed(app_id, secret) for app_id, secret in asks]
                found = [await client.get(url, headers=headers) for url, headers in requests]
                return [answer.status_code for answer in found]

    return asyncio.run(scenario())


def signed(app: str, secret: str) -> tuple[str, dict[str, str]]:
    path, now = PATH.format(app=app), str(round(time.time() * 1000))
    proof = sign(secret, now, path)
    return path, {"Authorization": f"Apollo {app}:{proof}", "Timestamp": now} if secret else {}


def test_reads_are_signed_with_a_key_that_it_makes(options: Options, tmp_path: Path) -> None:
    path = tmp_path / "configserver" / "access-key"
    assert statuses(options, ("sample", ""), ("other", "")) == [401, 401]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text().strip()
    asks = [("sample", key), ("other", key), ("sample", "wrong")]
    assert statuses(options, *asks) == [200, 200, 401]


def test_the_key_is_exchanged_by_a_second_line(options: Options, tmp_path: Path) -> None:
    statuses(options)
    path = tmp_path / "configserver" / "access-key"
    key = path.read_text().strip()
    path.write_text(f"{key}\nsecond\n")
    assert statuses(options, ("sample", key), ("sample", "second")) == [200, 200]
    path.write_text("second\n")
    assert statuses(options, ("sample", key), ("sample", "second")) == [401, 200]


def test_an_open_one_is_read_unsigned_and_says_so(
    options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert statuses(replace(options, config_server_open=True), ("sample", "")) == [200]
    assert "every user of this machine" in caplog.text
    assert not (tmp_path / "configserver" / "access-key").exists()


def test_a_key_that_others_may_read_is_refused(options: Options, tmp_path: Path) -> None:
    statuses(options)
    (tmp_path / "configserver" / "access-key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"access key .* may be read by others"):
        statuses(options)
