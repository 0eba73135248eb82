"""A start that cannot be says why in one line, with an exit code of its own, and leaves nothing."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.configserver import running_config_server
from tests.faulty import TinyApollo
from tests.packages import require
from tests.platform_process import COMMAND, ROOT, Platform
from tests.support import free_port, wait_until


def test_an_unreachable_config_server_without_a_cache_is_exit_9_and_opens_no_port(
    sampled: Platform,
) -> None:
    """Lifecycle, case 2."""
    sampled.environment["PLATFORM_CONFIG_TIMEOUT"] = "1.5"
    dead, port = free_port(), free_port()
    url = f"http://reader:topsecret@127.0.0.1:{dead}"
    arguments = ("--config-server", url, "--app-id", "sample", "--port", str(port))
    sampled.start(*arguments, ready=False)
    assert sampled.process is not None
    process = sampled.process

    def ended() -> bool:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        return process.poll() is not None

    wait_until(ended, deadline=30, interval=0.02)
    assert sampled.wait_end() == 9
    errors = [line for line in sampled.output().splitlines() if "error" in line]
    assert len(errors) == 1
    assert f"127.0.0.1:{dead}" in errors[0]
    assert "topsecret" not in sampled.output()
    assert "Traceback" not in sampled.output()
    assert sampled.tree() == []
    assert not sampled.env_file.exists()


def settings_of_our_unit() -> dict[str, list[str]]:
    """Return what the unit on our page for systemd sets."""
    page = (ROOT / "docs" / "howto" / "systemd.md").read_text()
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", page.split("```")[1], re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_the_unit_on_our_page_starts_again_when_the_service_was_away_at_the_first_start(
    tmp_path: Path,
) -> None:
    """B10: exit code 4, which the unit on our page took for a start that would fail again; and its
    `.env` lay in a folder that a service should not be able to write to."""
    if subprocess.run([require("unshare"), "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("a mount namespace of its own takes root")
    unit = settings_of_our_unit()
    # Given the unit's environment, and a folder that nothing can write to
    folder, state = tmp_path / "srv", tmp_path / "lib"
    folder.mkdir()
    state.mkdir()
    platform = Platform(folder)
    platform.log, platform.data_dir = tmp_path / "log", state
    platform.publish_sample("GREETING = hi\n")
    names = dict(line.split("=", 1) for line in unit["Environment"])
    platform.environment |= {k: v.replace("/var/lib/shop", str(state)) for k, v in names.items()}
    platform.environment |= {"PLATFORM_CONFIG_TIMEOUT": "0.5", "PLATFORM_WEB_WORKERS": "1"}
    port = free_port()
    start = [*COMMAND, "start", "--port", "0", "--admin-port", "0", "--app-id", "shop"]
    start += ["--config-server", f"http://127.0.0.1:{port}"]
    readonly = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && cd {folder}"
    command = ["unshare", "-m", "sh", "-c", f'{readonly} && exec "$@"', "sh", *start]
    # When the service is away at the first start, the unit starts it again
    platform.run(command)
    code = platform.wait_end()
    assert code == 9
    assert str(code) not in unit["RestartPreventExitStatus"][0].split()
    assert unit["Restart"] == ["on-failure"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["ProtectSystem"] == ["strict"]
    # And it runs as soon as there is a service
    before = sorted(folder.rglob("*"))
    with TinyApollo(port=port) as server:
        server.publish(GREETING="there")
        platform.run(command)
        try:
            platform.wait_ready()
            assert "GREETING" in (state / ".env").read_text()
        finally:
            platform.stop()
    assert sorted(folder.rglob("*")) == before
    assert "Traceback" not in platform.output()


def test_with_a_cache_it_starts_without_the_server_and_says_that_it_is_degraded(
    sampled: Platform,
) -> None:
    """Lifecycle, case 3."""
    with TinyApollo(port=free_port()) as server:
        server.publish(GREETING="hi", ORDERS_RECEIPT_DELAY="1")
        arguments = ("--config-server", server.url, "--app-id", "sample")
        sampled.start(*arguments)
        assert sampled.status()["config"]["source"] == "remote"
        assert sampled.status()["state"] == "running"
        sampled.stop()
    # Now nobody answers there any more: it serves all the same, and says what is amiss
    sampled.start(*arguments)
    assert sampled.get()["greeting"] == "hi"
    assert sampled.status()["config"]["source"] == "cache"
    assert 'platform_config_source{source="cache"} 1' in sampled.metrics()
    shown = sampled.cli("status")
    assert (shown.returncode, "degraded" in shown.stdout) == (1, True)
    assert "the config service has not answered since the start" in shown.stdout
    # When it is back with the same, nothing has to be replaced
    pids = sampled.pids()
    back = TinyApollo(port=server.port)
    back.publish(GREETING="hi", ORDERS_RECEIPT_DELAY="1")
    with back:
        wait_until(lambda: sampled.status()["state"] == "running", deadline=35)
        assert sampled.status()["config"]["source"] == "remote"
        assert sampled.pids() == pids


def test_a_namespace_that_does_not_exist_is_exit_4_and_is_named(
    sampled: Platform, tmp_path: Path
) -> None:
    where = tmp_path / "elsewhere"
    where.mkdir()
    with running_config_server(where) as server:
        sampled.start("--config-server", server.url, "--app-id", "nobody", ready=False)
        assert sampled.wait_end() == 4
    assert "nobody" in sampled.output()
    assert "application" in sampled.output()


def test_a_port_in_use_is_exit_5_and_is_named(sampled: Platform) -> None:
    """Lifecycle, case 5."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for arguments in (["--port", port], ["--admin-port", port]):
            sampled.start(*arguments, ready=False)
            assert sampled.wait_end() == 5
            assert f"Port {port} on 127.0.0.1 is in use" in sampled.output()
            assert arguments[0] in sampled.output()
            assert sampled.tree() == []
        sampled.environment["PLATFORM_CONFIG_SERVER_PORT"] = port
        sampled.start(ready=False)
        assert sampled.wait_end() == 5
        assert "PLATFORM_CONFIG_SERVER_PORT" in sampled.output()
    assert not sampled.env_file.exists()


def test_a_second_start_on_one_data_directory_is_exit_6_and_disturbs_nobody(
    sampled: Platform,
) -> None:
    """Lifecycle, case 5."""
    sampled.start()
    pids = sampled.pids()
    second = sampled.cli("start", "--port", "0", "--admin-port", "0")
    assert second.returncode == 6
    assert str(sampled.status()["pid"]) in second.stderr
    assert "Traceback" not in second.stderr
    assert sampled.pids() == pids
    assert sampled.get()["greeting"] == "Hello from the hive"


def test_a_plugin_that_does_not_import_is_exit_3_and_shown(
    sampled: Platform,
) -> None:
    """Lifecycle, case 4."""
    (sampled.plugins / "broken.py").write_text("import os\n\n\nos.environ['NO_SUCH_KEY']\n")
    sampled.start(ready=False)
    assert sampled.wait_end() == 3
    assert "Traceback (most recent call last)" in sampled.output()
    assert f"{sampled.plugins / 'broken.py'}:4" in sampled.output()
    assert "NO_SUCH_KEY" in sampled.output()
    assert sampled.tree() == []
    assert not sampled.env_file.exists()


def test_a_setting_that_does_not_fit_is_exit_3_and_names_the_key_but_not_the_value(
    sampled: Platform,
) -> None:
    sampled.publish_sample("ORDERS_RECEIPT_DELAY = sesame-open\n")
    sampled.start(ready=False)
    assert sampled.wait_end() == 3
    assert "ORDERS_RECEIPT_DELAY" in sampled.output()
    assert "sesame-open" not in sampled.output()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--web-workers", "many"], "--web-workers"),
        (["--web-workers", "-1"], "PLATFORM_WEB_WORKERS"),
        (["--port", "70000"], "PLATFORM_PORT"),
        (["--log-level", "loud"], "--log-level"),
        (["--config-server", "localhost:8080", "--app-id", "a"], "localhost:8080"),
        (["--config-server", "http://127.0.0.1:1"], "--app-id"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_an_option_that_cannot_be_used_is_exit_2_and_is_named(
    sampled: Platform, arguments: list[str], says: str
) -> None:
    done = sampled.cli("start", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_cannot_be_used_is_exit_2_and_is_named(sampled: Platform) -> None:
    sampled.environment["PLATFORM_PORT"] = "http"
    done = sampled.cli("start")
    assert done.returncode == 2
    assert "PLATFORM_PORT is 'http'" in done.stderr


def test_a_sample_file_that_cannot_be_read_is_exit_4_and_is_named(sampled: Platform) -> None:
    folder = sampled.samples / "sample" / "default"
    (folder / "application.properties").write_text("GREETING = \\uZZZZ\n")
    sampled.start(ready=False)
    assert sampled.wait_end() == 4
    assert "application.properties" in sampled.output()
