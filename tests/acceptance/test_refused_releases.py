"""What must not be applied is refused whole: nothing is written, nobody is disturbed, the reason is
counted and shown, and the next release is applied."""

import shlex
import signal
from collections.abc import Iterator

import pytest
from dotenv import dotenv_values

from tests.acceptance.test_following import follow
from tests.faulty import TinyApollo
from tests.platform_process import Platform
from tests.support import wait_until


@pytest.fixture
def server() -> Iterator[TinyApollo]:
    with TinyApollo() as server:
        server.publish(NUMBER="1", **{f"KEY_{n}": "x" for n in range(12)})
        yield server


@pytest.fixture
def follower(platform: Platform, server: TinyApollo) -> Platform:
    return follow(platform, server)


def counted(platform: Platform, kind: str) -> bool:
    name = f'platform_config_validation_failures_total{{kind="{kind}"}}'
    return any(
        line.startswith(name) and not line.endswith(" 0") for line in platform.metrics().split("\n")
    )


def test_what_no_process_can_be_given_is_refused_by_its_key(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 3."""
    follower.start()
    file, pids = follower.env_file.read_bytes(), follower.pids()
    for kind, key, values in (
        ("limits", "WITH_NUL", {"WITH_NUL": "a\0b"}),
        ("limits", "HALF", {"HALF": "\ud800"}),
        ("limits", "LARGE", {"LARGE": "x" * 200_000}),
        ("collision", "mail.host", {"mail.host": "1", "mail-host": "2"}),
    ):
        server.publish(NUMBER="2", **values)
        wait_until(lambda key=key: key in follower.status()["config"]["last_error"])  # type: ignore[misc]
        wait_until(lambda kind=kind: counted(follower, kind))  # type: ignore[misc]
    assert follower.env_file.read_bytes() == file
    assert follower.pids() == pids
    server.publish(NUMBER="3", **{f"KEY_{n}": "x" for n in range(12)})
    wait_until(lambda: follower.get() == 3)
    wait_until(lambda: follower.status()["config"]["last_error"] == "")


def test_what_the_operators_check_does_not_let_pass_is_not_written(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 16."""
    # Given a check that sees the staged file in both ways, is slow and talks about secrets
    check = "sh " + shlex.quote(str(follower.directory / "check.sh"))
    (follower.directory / "check.sh").write_text(
        'test "$1" = "$PLATFORM_STAGED_ENV" || exit 9\n'
        'grep -q "^NUMBER=13" "$1" || exit 0\n'
        'echo "thirteen is unlucky, API_TOKEN=$API_TOKEN"; sleep 3; exit 1\n'
    )
    follower.start("--config-check", check)
    file, pids = follower.env_file.read_bytes(), follower.pids()
    keys = {f"KEY_{n}": "x" for n in range(12)}
    # When it fails
    server.publish(NUMBER="13", API_TOKEN="s3cret-token", **keys)
    refused = wait_until(lambda: follower.status()["refused"])
    # Then its last line says why, masked, and nothing was touched
    [problem] = refused["problems"]
    assert problem["stage"] == "check"
    assert "exited with 1: thirteen is unlucky, API_TOKEN=******" in problem["message"]
    assert follower.env_file.read_bytes() == file
    assert follower.pids() == pids
    assert counted(follower, "check_cmd")
    # When the next one is published while the check of one before still runs, it takes its place
    server.publish(NUMBER="13", OTHER="1", **keys)
    wait_until(lambda: "/check.sh" in processes(follower))
    server.publish(NUMBER="4", **keys)
    wait_until(lambda: follower.get() == 4)
    wait_until(lambda: follower.status()["refused"] is None)
    assert dotenv_values(follower.env_file)["NUMBER"] == "4"
    wait_until(lambda: "/check.sh" not in processes(follower))


def test_a_check_that_hangs_is_ended_and_the_supervisor_goes_on_meanwhile(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 16."""
    follower.environment["PLATFORM_CONFIG_CHECK_TIMEOUT"] = "15"
    (follower.directory / "check.sh").write_text('grep -q "^NUMBER=1$" "$1" || sleep 60\n')
    follower.start("--config-check", "sh check.sh {}")
    [before] = follower.pids("web.").values()
    server.publish(NUMBER="2", **{f"KEY_{n}": "x" for n in range(12)})
    wait_until(lambda: "check.sh" in processes(follower))
    # A worker that is killed is replaced while the command runs
    follower.kill(before)
    wait_until(lambda: set(follower.pids("web.").values()) - {before, None})
    assert "check.sh" in processes(follower)
    refused = wait_until(lambda: follower.status()["refused"], deadline=45)
    assert "took over 15 s" in refused["problems"][0]["message"]
    wait_until(lambda: "check.sh" not in processes(follower))
    assert follower.get() == 1
    # And a first configuration that does not pass is exit 4
    follower.stop()
    server.publish(NUMBER="5", **{f"KEY_{n}": "x" for n in range(12)})
    follower.data_dir = follower.directory / "other"
    follower.environment["PLATFORM_DATA_DIR"] = str(follower.data_dir)
    follower.start("--config-check", "exit 1", ready=False)
    assert follower.wait_end() == 4


def test_a_release_that_has_lost_its_keys_is_refused_until_that_is_allowed(
    follower: Platform, server: TinyApollo
) -> None:
    follower.start()
    file, pids = follower.env_file.read_bytes(), follower.pids()
    server.publish(NUMBER="2", KEY_1="x")
    refused = wait_until(lambda: follower.status()["refused"])
    assert "11 of the 13 keys in force are gone" in refused["problems"][0]["message"]
    assert counted(follower, "shrunk")
    server.publish()
    wait_until(lambda: counted(follower, "empty"))
    assert follower.env_file.read_bytes() == file
    assert follower.pids() == pids
    # A restart does not apply it either: it goes back to what was in force
    follower.stop()
    follower.start()
    assert follower.get() == 1
    assert follower.env_file.read_bytes() == file
    # Nor does a pull, unless it is told to
    server.publish(NUMBER="3")
    assert follower.cli("config", "pull").returncode == 1
    assert follower.cli("config", "pull", "--allow-empty").returncode == 0
    assert follower.get() == 3
    # And the key allows it for good
    (follower.directory / ".env.local").write_text("PLATFORM_ALLOW_EMPTY=true\n")
    server.publish()
    wait_until(lambda: follower.get() == 0)
    assert follower.process is not None
    follower.process.send_signal(signal.SIGTERM)
    assert follower.wait_end() == 0


def processes(platform: Platform) -> str:
    """Return the command lines of every process of the platform."""
    return "\n".join(
        line
        for line in platform.command_lines()
        if "platform start" not in line and "-m skep" not in line
    )
