"""The verbs of the configuration: what they say, what they change, and what they never show."""

import json
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from dotenv import dotenv_values

from skep.config.apollo.openapi import OpenApiClient
from tests.acceptance.test_following import follow
from tests.faulty import TinyApollo
from tests.packages import require_mounts
from tests.platform_process import COMMAND, Platform
from tests.support import wait_until

SECRETS = {"DB_PASSWORD": "hunter-twentytwo", "API_TOKEN": "t0ken-abcdef"}
DSN = "postgres://bee:honey-pot-9@db/hive"


@pytest.fixture
def server() -> Iterator[TinyApollo]:
    with TinyApollo() as server:
        server.publish(NUMBER="1", GREETING="Hello")
        yield server


@pytest.fixture
def follower(platform: Platform, server: TinyApollo) -> Platform:
    return follow(platform, server)


def shown(platform: Platform, *arguments: str, code: int = 0) -> str:
    """Run a verb that is to end with this code; return what it prints."""
    done = platform.cli(*arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_pull_without_a_platform_shows_checks_and_writes(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 19."""
    follower.env_file.write_text("HAND=1\n")
    before = sorted(p.name for p in follower.directory.rglob("*"))
    # A dry run prints a masked diff, tells by its exit code and writes nothing
    server.publish(NUMBER="1", API_TOKEN=SECRETS["API_TOKEN"])
    said = shown(follower, "config", "pull", "--dry-run", "--diff", code=1)
    assert "+ NUMBER=1" in said
    assert "+ API_TOKEN=******" in said
    document = json.loads(shown(follower, "config", "pull", "--dry-run", "--json", code=1))
    assert [change["key"] for change in document["changes"]] == ["API_TOKEN", "NUMBER"]
    assert SECRETS["API_TOKEN"] not in said + str(document)
    assert sorted(p.name for p in follower.directory.rglob("*")) == before
    # Without --once it writes nothing either, and says what to do
    assert "--once" in shown(follower, "config", "pull", code=3)
    assert follower.env_file.read_text() == "HAND=1\n"
    # --once writes and ends
    shown(follower, "config", "pull", "--once")
    assert dotenv_values(follower.env_file) == {
        "HAND": "1",
        "NUMBER": "1",
        "API_TOKEN": SECRETS["API_TOKEN"],
    }
    assert stat.S_IMODE(follower.env_file.stat().st_mode) == 0o600
    shown(follower, "config", "pull", "--dry-run")
    shown(follower, "config", "diff")
    assert "written" in shown(follower, "config", "history")
    # What a plugin cannot use, or the operator's check refuses, is not written
    server.publish(NUMBER="many", API_TOKEN="x")
    file = follower.env_file.read_bytes()
    assert "NUMBER" in shown(follower, "config", "check", code=3)
    assert "NUMBER" in shown(follower, "config", "pull", "--once", code=4)
    server.publish(NUMBER="2", API_TOKEN="x")
    check = ("--config-check", "echo too late; exit 1; true")
    assert "too late" in shown(follower, "config", "check", *check, code=4)
    assert "too late" in shown(follower, "config", "pull", "--once", *check, code=4)
    assert follower.env_file.read_bytes() == file
    # A name of an environment has files of its own
    shown(follower, "config", "pull", "--once", "-e", "staging")
    assert dotenv_values(follower.directory / ".env.staging")["NUMBER"] == "2"
    assert follower.env_file.read_bytes() == file
    (follower.directory / ".env.staging.local").write_text("NUMBER=3\n")
    exported = json.loads(shown(follower, "env", "export", "-e", "staging", "--format", "json"))
    assert exported["NUMBER"] == "3"
    assert "PLATFORM_ENV" in shown(follower, "config", "pull", "--once", "-e", "local", code=2)
    # A server that is down is exit 9, and a platform of its own has no server to ask
    follower.environment["PLATFORM_CONFIG_SERVER"] = "http://127.0.0.1:1"
    assert "cannot be reached" in shown(follower, "config", "pull", "--dry-run", code=9)
    del follower.environment["PLATFORM_CONFIG_SERVER"]
    assert "--config-server" in shown(follower, "config", "diff", code=2)


def test_a_deleted_key_is_gone_and_explain_names_the_layer_that_wins(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 5."""
    # Given a key in every layer, and one that is deleted later
    (follower.directory / ".env.local").write_text("BOTH=local\n")
    follower.env_file.write_text("BOTH=hand\nLEVEL=hand\n")
    server.publish(
        NUMBER="1",
        BOTH="remote",
        LEVEL="remote",
        GONE="soon",
    )
    follower.environment["LEVEL"] = "start"
    follower.tell_environments()
    follower.start("--web-workers", "1")
    assert environ(follower)["GONE"] == "soon"

    def places(key: str) -> list[tuple[str, str, str]]:
        found = json.loads(shown(follower, "config", "explain", key, "--json"))
        return [(place["layer"], place["where"], place["value"]) for place in found]

    # Then every layer is told, the winner first, as the platform sees it and not this shell
    follower.environment["LEVEL"] = "another"
    assert places("BOTH") == [
        (".env.local", "", "local"),
        ("remote", "application", "remote"),
        (".env", "", "hand"),
    ]
    assert places("LEVEL")[0] == ("environment", "", "start")
    assert places("PLATFORM_WEB_WORKERS")[0] == ("command line", "", "1")
    assert places("PLATFORM_WEB_WORKERS")[-1] == ("default", "", "0")
    assert "wins" in shown(follower, "config", "explain", "BOTH")
    assert "No layer" in shown(follower, "config", "explain", "NOWHERE", code=1)
    assert {"BOTH": "local", "LEVEL": "start"}.items() <= environ(follower).items()
    # When a key is deleted upstream, and the number forces a rollout
    server.publish(
        NUMBER="2",
        BOTH="remote",
        LEVEL="remote",
    )
    wait_until(lambda: follower.get() == 2)
    assert "GONE" not in dotenv_values(follower.env_file)
    assert "GONE" not in environ(follower)
    assert {"BOTH": "local", "LEVEL": "start"}.items() <= environ(follower).items()


def environ(platform: Platform) -> dict[str, str]:
    """Return the environment that the newest generation began with."""
    pids = platform.pids("web.")
    return platform.environ(pids[max(pids, key=lambda name: int(name.partition("@")[2]))])


def test_secrets_are_nowhere_but_where_they_belong(follower: Platform, server: TinyApollo) -> None:
    """Configuration, case 20."""
    # Given secrets from every side and the most talkative log
    follower.environment |= {"START_SECRET": "st4rt-secret-77"}
    server.publish(NUMBER="1", DATABASE=DSN, **SECRETS)
    follower.start("--log-level", "debug")
    told: list[str] = []

    def tell(*arguments: str) -> str:
        done = follower.cli(*arguments)
        told.append(done.stdout + done.stderr)
        return done.stdout

    # When they change, are refused, explained, planned, compared and gone back to
    server.publish(NUMBER="2", DATABASE=DSN + "?x", DB_PASSWORD="hunter-23456", API_TOKEN="n")
    wait_until(lambda: follower.get() == 2)
    for verb in ("explain DB_PASSWORD", "explain DATABASE", "explain START_SECRET", "diff 1"):
        tell("config", *verb.split())
    tell("config", "rollback")
    for verb in ("plan", "plan --json", "diff", "status --json", "pull --dry-run --diff", "check"):
        tell("config", *verb.split())
    tell("config", "unpin")
    server.publish(NUMBER="many", DB_PASSWORD="hunter-34567")
    wait_until(lambda: follower.status()["refused"])
    for verb in ("config check", "config history", "config history --json", "status --json"):
        tell(*verb.split())
    # Then none of them is in what was said, counted or written down, or in a command line
    assert "******" in "".join(told)
    told += [follower.output(), follower.metrics()]
    audit = (follower.data_dir / "config" / "audit.jsonl").read_text()
    told.append(audit)
    told += follower.command_lines()
    everything = "\n".join(told)
    secrets = [*SECRETS.values(), "hunter-", "honey-pot", "st4rt-secret"]
    assert [secret for secret in secrets if secret in everything] == []
    # And the audit log has a line for each change that was tried
    outcomes = [json.loads(line)["outcome"] for line in audit.splitlines()]
    assert outcomes == ["committed", "committed", "committed", "committed", "refused"]


def test_a_rollback_holds_until_it_is_let_go_and_a_plan_tells_what_would_come(
    follower: Platform, server: TinyApollo
) -> None:
    follower.start()
    server.publish(NUMBER="2", GREETING="Good day", UNUSED="1")
    wait_until(lambda: follower.get() == 2)
    assert "pinned" in shown(follower, "config", "rollback", "1")
    assert follower.get() == 1
    # What is published now is withheld, and the plan tells what it would do
    server.publish(NUMBER="3", GREETING="Good day", UNUSED="1")
    plan = json.loads(shown(follower, "config", "plan", "--json"))
    assert {(e["key"], e["old"], e["new"], e["action"]) for e in plan} == {
        ("NUMBER", "1", "3", "rollout"),
        ("GREETING", "Hello", "Good day", "unused"),
        ("UNUSED", None, "1", "unused"),
    }
    assert "unpin" in shown(follower, "config", "pull")
    assert follower.get() == 1
    assert "to snapshot 1" in shown(follower, "config", "status")
    assert "no snapshot 99" in shown(follower, "config", "rollback", "99", code=1)
    # When it is let go, what was withheld is applied
    shown(follower, "config", "unpin")
    wait_until(lambda: follower.get() == 3)
    assert "- NUMBER=2\n+ NUMBER=3" in shown(follower, "config", "diff", "2", code=1)
    assert json.loads(shown(follower, "config", "history", "--json"))["pinned"] == 0
    follower.stop()
    # Without the platform the disk still tells
    assert "not running" in shown(follower, "config", "status", code=3)
    assert "rollback to snapshot 1" in shown(follower, "config", "history")


def test_publish_waits_for_the_outcome_and_refuses_a_namespace_that_is_not_followed(
    sampled: Platform,
) -> None:
    """B14: publish ended before the outcome was known, with exit code 0 also when the release was
    refused, and published in namespaces that the platform does not follow."""
    sampled.start()
    assert "Generation 2 has it." in shown(sampled, "config", "publish", "GREETING=waited for")
    assert sampled.get()["greeting"] == "waited for"
    # Refused by the agent, and by the zygote
    assert "LD_PRELOAD" in shown(sampled, "config", "publish", "LD_PRELOAD=/evil", code=1)
    shown(sampled, "config", "publish", "--delete", "LD_PRELOAD")
    late = "ORDERS_RECEIPT_DELAY"
    said = shown(sampled, "config", "publish", f"{late}=never", code=1)
    assert "The release was refused" in said
    assert late in said
    assert sampled.get()["greeting"] == "waited for"
    # What is withheld is published all the same
    shown(sampled, "config", "rollback", "1")
    assert "pinned" in shown(sampled, "config", "publish", f"{late}=0.1")
    # A name that the platform does not follow
    said = shown(sampled, "config", "publish", "--namespace", "aplication", "A=1", code=2)
    assert "'aplication'; it follows application" in said


def test_a_plan_foresees_what_is_not_published_yet(sampled: Platform) -> None:
    """Safety of a publish: the dry run. Nothing is published, and nothing is touched."""
    sampled.start()
    config = sampled.status()["config"]
    token = (sampled.data_dir / "configserver/token").read_text().strip()
    late = "ORDERS_RECEIPT_DELAY"

    def foreseen(code: int = 0, **items: str) -> dict[str, Any]:
        for key, value in items.items():
            api.set_item(config["app_id"], "default", "application", key, value, "ann")
        said = shown(sampled, "config", "plan", "--unpublished", "--json", code=code)
        found: dict[str, Any] = json.loads(said)
        return found

    with OpenApiClient(config["url"], token) as api:
        assert foreseen()["verdict"] == "nothing"
        unused = foreseen(UNUSED_PASSWORD="hunter-9")
        assert (unused["verdict"], unused["namespaces"]) == ("live", ["application"])
        (change,) = unused["changes"]
        assert (change["key"], change["new"]) == ("UNUSED_PASSWORD", "******")
        assert foreseen(GREETING="Good day")["verdict"] == "rollout"
        assert "would roll out" in shown(sampled, "config", "plan", "--unpublished")
        # By the agent's rules, and by a Settings class
        refused = foreseen(1, LD_PRELOAD="/evil")
        assert refused["verdict"] == "refused"
        assert "LD_PRELOAD" in refused["problems"][0]["message"]
        api.delete_item(config["app_id"], "default", "application", "LD_PRELOAD", "ann")
        refused = foreseen(1, **{late: "never"})
        assert late in str(refused["problems"])
        # By the rules of the namespace
        name = (config["app_id"], "application")
        shown(sampled, "config-server", "policy", "set", *name, "--require", "MISSING")
        assert "'MISSING' is missing" in str(foreseen(1)["problems"])
    assert "go with --unpublished" in shown(sampled, "config", "plan", "--server", "x", code=2)
    assert "Nothing would change" in shown(sampled, "config", "plan")
    assert sampled.status()["generation"] == 1


def test_a_mounted_env_is_kept_up_to_date_and_that_it_is_mounted_is_told(
    follower: Platform, server: TinyApollo
) -> None:
    """Configuration, case 8."""
    require_mounts()
    # Given a .env that a container's runtime has mounted over ours
    source = follower.directory / "host.env"
    source.write_text("HAND=1\n")
    follower.env_file.touch()
    mount = f'mount --bind {source} {follower.env_file} && exec "$@"'
    with follower.log.open("ab") as log:
        follower.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", mount, "sh", *COMMAND, "start", "--port", "0",
             "--admin-port", "0"],
            cwd=follower.directory, env=follower.environment, stdout=log, stderr=log,
        )  # fmt: skip
    follower.wait_ready()
    # When it changes
    server.publish(NUMBER="2")
    wait_until(lambda: follower.get() == 2)
    # Then the file itself does, what is under the mount does not, and it is told
    assert dotenv_values(source) == {"HAND": "1", "NUMBER": "2"}
    assert follower.env_file.read_text() == ""
    assert "platform_config_written_in_place 1" in follower.metrics()
    assert "is a mount point" in follower.output()
