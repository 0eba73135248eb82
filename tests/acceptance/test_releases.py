"""A release that is refused is refused everywhere in the same way, and each namespace stands for
itself: `status` says what of it is in force, since when, and why it is not newer."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from dotenv import dotenv_values

from skep.base.rundir import RunDir
from skep.wire import control
from tests.acceptance.test_following import follow
from tests.faulty import TinyApollo
from tests.platform_process import Platform
from tests.support import wait_until

KEYS = {f"KEY_{n}": "x" for n in range(12)}


@pytest.fixture
def server() -> Iterator[TinyApollo]:
    with TinyApollo() as server:
        server.publish(NUMBER="1", **KEYS)
        server.publish("shop.yaml", content="shop: open")
        yield server


@pytest.fixture
def follower(platform: Platform, server: TinyApollo) -> Platform:
    platform.environment["PLATFORM_NAMESPACE"] = "application,shop.yaml"
    return follow(platform, server)


def asked(platform: Platform) -> dict[str, Any]:
    """Return the status, sooner than a verb could."""
    status: dict[str, Any] = control.call(RunDir(platform.data_dir).control_socket, "status")
    return status


def lines(platform: Platform, name: str) -> list[dict[str, Any]]:
    """Return the entries of a file of JSON lines in the data directory."""
    return [json.loads(line) for line in (platform.data_dir / name).read_text().splitlines()]


def last_refused(platform: Platform, name: str) -> dict[str, Any]:
    """Return the newest entry of a file about something that was refused."""
    return [entry for entry in lines(platform, name) if entry["outcome"] == "refused"][-1]


def metric(platform: Platform, name: str) -> float:
    """Return the value of a series."""
    rows = (line.rpartition(" ") for line in platform.metrics().splitlines())
    return next(float(value) for series, _, value in rows if series == f"platform_{name}")


def refused_everywhere(platform: Platform, text: str, rule: str) -> None:
    """Wait until a release is refused for this reason; it is so in every place there is."""

    def problems() -> list[str]:
        refused = asked(platform)["refused"]
        return [p["message"] for p in refused["problems"]] if refused else []

    wait_until(lambda: any(text in problem for problem in problems()))
    shown = platform.cli("config", "status")
    assert shown.returncode == 1
    assert text in shown.stdout
    assert metric(platform, "config_quarantined") == 1
    assert metric(platform, f'config_validation_failures_total{{kind="{rule}"}}') >= 1
    entry = last_refused(platform, "config/audit.jsonl")
    assert (entry["cause"], entry["number"]) == ("config", None)
    assert text in entry["problems"][0]
    operation = last_refused(platform, "operations.jsonl")
    assert operation["what"] == "config"
    assert text in operation["problems"][0]
    assert platform.output().count(f"refused: {operation['problems'][0]}") == 1


def test_every_part_of_the_platform_refuses_a_release_in_the_same_way(
    follower: Platform, server: TinyApollo
) -> None:
    """B1: a release the agent refuses left no trace in history, audit, metric and exit code. Here
    it is refused by the agent, the supervisor, the operator's command and the zygote."""
    check = "sh -c 'if grep -q ^NUMBER=13 \"$1\"; then echo unlucky; exit 1; fi' -"
    follower.start("--config-check", check)
    file, pids = follower.env_file.read_bytes(), follower.pids()
    refusals: list[tuple[str, str, dict[str, str]]] = [
        ("denied", "Namespace application: The remote", {"PATH": "/evil"}),
        ("collision", "'mail.host' and 'mail-host'", {"mail.host": "1", "mail-host": "2"}),
        ("limits", "WITH_NUL", {"WITH_NUL": "a\0b"}),
        ("schema", "PLATFORM_MAX_REQUESTS", {"PLATFORM_MAX_REQUESTS": "many"}),
        ("check_cmd", "unlucky", {"NUMBER": "13"}),
        ("schema", "NUMBER", {"NUMBER": "many"}),
    ]
    for rule, text, values in refusals:
        server.publish(**{"NUMBER": "2", **KEYS, **values})
        refused_everywhere(follower, text, rule)
    # A verb that is to apply it is refused in the same way, however often it is run
    for _ in range(2):
        done = follower.cli("config", "pull", timeout=30)
        assert done.returncode == 1
        assert "NUMBER" in done.stderr
    server.publish(NUMBER="2")
    refused_everywhere(follower, "12 of the 14 keys in force are gone", "shrunk")
    assert follower.env_file.read_bytes() == file
    assert follower.pids() == pids
    # What is refused in one namespace stays refused while another goes on
    server.publish("shop.yaml", content="shop: [")
    server.publish(NUMBER="3", **KEYS)
    wait_until(lambda: follower.get() == 3)
    refused_everywhere(follower, "namespace shop.yaml cannot be used", "malformed")
    assert dotenv_values(follower.env_file)["shop"] == "open"
    assert metric(follower, 'config_namespace_held{namespace="shop.yaml"}') == 1
    done = follower.cli("config", "pull")
    assert done.returncode == 1
    assert "Namespace shop.yaml keeps release key-102" in done.stderr
    assert "namespace shop.yaml cannot be used" in follower.cli("config", "check").stderr
    # When it is mended, nothing is refused any more
    server.publish("shop.yaml", content="shop: shut")
    wait_until(lambda: asked(follower)["refused"] is None)
    wait_until(lambda: dotenv_values(follower.env_file)["shop"] == "shut")
    assert follower.cli("config", "status").returncode == 0
    assert metric(follower, "config_quarantined") == 0
    assert metric(follower, 'config_namespace_held{namespace="shop.yaml"}') == 0
    # And one that is refused at a first start is written down as well
    follower.stop()
    server.publish(PATH="/evil")
    follower.data_dir = follower.directory / "other"
    follower.environment["PLATFORM_DATA_DIR"] = str(follower.data_dir)
    follower.start(ready=False)
    assert follower.wait_end() == 4
    assert "The remote config sets PATH" in lines(follower, "config/audit.jsonl")[-1]["problems"][0]


def test_one_namespace_that_is_missing_or_broken_does_not_freeze_the_others(
    follower: Platform, server: TinyApollo
) -> None:
    """B2: one deleted namespace or one broken document froze all others, restarts started frozen,
    and `config diff` was exit 4."""
    follower.environment["PLATFORM_NAMESPACE"] = "application,shop.yaml,extra"
    server.publish("extra", key="E1", EXTRA="kept")
    before = time.time()
    follower.start()

    def releases() -> dict[str, dict[str, Any]]:
        return {one["namespace"]: one for one in asked(follower)["config"]["releases"]}

    first = releases()["extra"]
    assert before < first["since"] < time.time()
    assert (first["release_key"], first["not_newer"]) == ("E1", "")
    # When one is deleted, another cannot be read, and the third is published
    server.delete("extra")
    server.publish("shop.yaml", content="shop: [")
    server.publish(NUMBER="2", **KEYS)
    # Then that one is followed, the others keep what they have, and it is said
    wait_until(lambda: follower.get() == 2)
    wait_until(lambda: releases()["extra"]["reason"] == "missing")
    kept = releases()["extra"]
    assert (kept["release_key"], kept["since"]) == ("E1", first["since"])
    assert "no release of namespace extra" in kept["not_newer"]
    values = dotenv_values(follower.env_file)
    assert (values["EXTRA"], values["shop"], values["NUMBER"]) == ("kept", "open", "2")
    shown = follower.cli("status")
    assert shown.returncode == 1
    assert "namespace extra is not followed" in shown.stdout
    assert "not newer: The document in line" in shown.stdout
    # And what differs can still be shown
    diff = follower.cli("config", "diff")
    assert diff.returncode == 1
    assert "Namespace extra keeps release E1: The config server" in diff.stderr
    assert diff.stdout == ""
    # When it is restarted, it does not start frozen
    follower.stop()
    shown = follower.cli("config", "status")
    assert "extra E1 since 20" in shown.stdout
    follower.start()
    assert asked(follower)["config"]["source"] == "remote"
    assert releases()["extra"]["since"] == first["since"]
    server.publish(NUMBER="3", **KEYS)
    wait_until(lambda: follower.get() == 3)
    assert dotenv_values(follower.env_file)["EXTRA"] == "kept"
    # When they are back, nothing is amiss any more
    server.publish("extra", key="E2", EXTRA="new")
    server.publish("shop.yaml", content="shop: shut")
    wait_until(lambda: dotenv_values(follower.env_file)["EXTRA"] == "new")
    wait_until(lambda: asked(follower)["state"] == "running")
    wait_until(lambda: {one["not_newer"] for one in releases().values()} == {""})
    assert releases()["extra"]["since"] > first["since"]
