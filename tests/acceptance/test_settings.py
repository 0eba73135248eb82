"""One rule for the value that wins, keys of this machine only, and one for the data directory."""

import json

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

VAULT = """
import os
from skep import Live, Plugin, Settings
from starlette.responses import JSONResponse
from starlette.routing import Route

class VaultSettings(Settings, prefix="VAULT_"):
    host: Live[str] = "default"

async def host(request):
    return JSONResponse({"host": VaultSettings.current().host, "pid": os.getpid()})

plugin = Plugin(routes=[Route("/host", host)], settings=[VaultSettings])
"""


@pytest.fixture
def vault(platform: Platform) -> Platform:
    (platform.plugins / "vault.py").write_text(VAULT)
    return platform


def said(platform: Platform, *arguments: str) -> str:
    done = platform.cli(*arguments)
    assert done.returncode in (0, 1), (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def host_everywhere(platform: Platform, host: str) -> bool:
    """Whether both web workers answer with this host; several connections, to meet them both."""
    answers = [platform.get("/host") for _ in range(12)]
    return len({a["pid"] for a in answers}) == 2 and {a["host"] for a in answers} == {host}


def places(platform: Platform, key: str) -> list[tuple[str, str, str]]:
    found = json.loads(said(platform, "config", "explain", key, "--json"))
    return [(place["key"], place["layer"], place["value"]) for place in found]


def test_a_key_has_one_winner_and_the_config_service_cannot_set_what_is_of_this_machine(
    vault: Platform,
) -> None:
    """B3: a key that two layers spell differently has the value of the stronger layer in every
    worker, also after a live change, a deletion and a crash. D11: a published key that chooses what
    is shown is refused by name."""
    vault.env_file.write_text("VAULT_HOST=hand\n")
    vault.publish_sample("vault.host = one\nKEPT = 1\n")
    vault.start()
    assert host_everywhere(vault, "one")
    assert places(vault, "VAULT_HOST") == [
        ("vault_host", "remote", "one"),
        ("VAULT_HOST", ".env", "hand"),
    ]
    assert "VAULT_HOST" in said(vault, "config", "explain", "vault_host")
    # A live change: whoever was there and whoever is born later have the same value
    vault.publish("vault.host=two")
    wait_until(lambda: host_everywhere(vault, "two"))
    vault.kill(vault.pids("web.")["web.0@1"])
    wait_until(lambda: host_everywhere(vault, "two"))
    # Two spellings in one namespace are refused, and a key of this machine is
    for assignment, named in (("VAULT_HOST=three", "vault.host"), ("PLATFORM_STATIC=/", "STATIC")):
        done = vault.cli("config", "publish", assignment)
        assert (done.returncode, named in done.stderr) == (1, True), done.stdout + done.stderr
        vault.cli("config", "publish", "--delete", assignment.partition("=")[0])
    assert vault.status()["generation"] == 1
    assert host_everywhere(vault, "two")
    assert vault.cli("config", "explain", "PLATFORM_STATIC").stdout.count("remote") == 0
    # A live deletion: the weaker layer's value counts, for old and new workers
    vault.cli("config", "publish", "--delete", "vault.host")
    wait_until(lambda: host_everywhere(vault, "hand"))
    vault.kill(vault.pids("web.")["web.1@1"])
    wait_until(lambda: host_everywhere(vault, "hand"))
    assert places(vault, "vault_host") == [("VAULT_HOST", ".env", "hand")]
    assert vault.status()["generation"] == 1


def test_every_verb_finds_the_platform_whose_data_directory_stands_in_a_file(
    vault: Platform,
) -> None:
    """B9: PLATFORM_DATA_DIR in .env.local, and in .env.NAME.local for those who say -e NAME."""
    del vault.environment["PLATFORM_DATA_DIR"]
    vault.data_dir = vault.directory / "elsewhere"
    (vault.directory / ".env.staging.local").write_text("PLATFORM_DATA_DIR=elsewhere\n")
    vault.environment["PLATFORM_ENV"] = "staging"
    vault.start()
    (vault.directory / ".env.local").write_text("platform_data_dir=elsewhere\n")
    assert (vault.data_dir / "control.sock").exists()
    assert not (vault.directory / ".platform").exists()
    verbs = (
        *("status", "ps", "info", "history", "conns", "mem --seconds 0.1", "dump web.0"),
        *("log-level info", "scale web=2", "task ls", "dead ls", "queue ls", "queue pause x"),
        *("queue resume x", "ws ls", "drain", "undrain", "reload", "config publish A=1"),
        *("config status", "config history", "config explain A", "config unpin"),
    )
    lost = {}
    for verb in verbs:
        done = vault.cli(*verb.split())
        if done.returncode not in (0, 1) or "No platform" in done.stderr:
            lost[verb] = done.stderr
    assert lost == {}
    # By an option as well as by the environment; and a broken file does not hide the platform's end
    del vault.environment["PLATFORM_ENV"]
    assert vault.cli("status", "-e", "staging").returncode == 0
    assert vault.cli("status").returncode == 0
    (vault.directory / ".env.local").write_text("A='open\n")
    done = vault.cli("status")
    assert done.returncode == 3
    assert ".env.local" in done.stderr
    assert ".platform" in done.stderr
    assert vault.cli("stop", "--data-dir", "elsewhere").returncode == 0
    assert vault.wait_end() == 0
