"""Secrets are shown nowhere, and what is too long is cut."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.platform_process import Platform
from tests.support import wait_until

VAULT = """
import os
from pydantic import Field, SecretStr
from skep import Plugin, Settings, Task

class VaultSettings(Settings, prefix="VAULT_"):
    host: str = "default"
    combination: SecretStr = SecretStr("")
    badge: str = Field("", json_schema_extra={"secret": True})

class Open(Task):
    tries = 1
    def handle(self, ctx):
        vault = VaultSettings.current()
        combination = vault.combination.get_secret_value()
        raise RuntimeError(f"{combination} and {vault.badge} and {os.environ['ACME_CODE']} fail")

class Shout(Task):
    tries = 1
    def handle(self, ctx):
        raise ValueError("\\n" * 5_000_000 + "a long story " * 400_000)

plugin = Plugin(tasks=[Open, Shout], settings=[VaultSettings])
"""


@pytest.fixture
def vault(platform: Platform) -> Platform:
    (platform.plugins / "vault.py").write_text(VAULT)
    return platform


def said(platform: Platform, *arguments: str) -> str:
    done = platform.cli(*arguments)
    assert done.returncode in (0, 1), (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


PEM = "-----BEGIN PRIVATE KEY-----\nbase64-of-a-pem\n-----END PRIVATE KEY-----"
# Whatever is secret has `hush` in it, so that one look finds it everywhere.
PUBLISHED = {
    "DB_PWD": "hush-db-pwd",
    "MAIL_PASS": "hush-mail-pass",
    "AES_KEY": "hush-aes-key",
    "COOKIE_SALT": "hush-salt",
    "TLS_PEM": "hush-tls-pem",
    "CARD_PIN": "hush-pin",
    "VAULT_COMBINATION": "hush-combination",
    "VAULT_BADGE": "hush-badge",
    "ACME_CODE": "hush-acme-code",
    "ALERTS": "https://hooks.slack.com/services/T1/B1/hush-slack",
    "DISCORD": "https://discord.com/api/webhooks/123456/hush-discord",
    "DATABASE": "postgres://bee:hush-honey@db/hive",
    "FEED": "https://feed.example/x?sig=hush-signature&page=2",
    "BANNER": PEM.replace("base64", "hush"),
    "SESSION": "eyJhbGciOiJIUzI1NiJ9.eyJodXNoIjoiMTIzIn0.hush-jwt",
    "CLOUD": "AKIAHUSHHUSHHUSHHUSH",
    "OTHER": "hush4Xw0R7tQ2zL9vB1nK5pJ8s",
}


def publish(platform: Platform, values: Mapping[str, str], *arguments: str, text: str = "") -> Any:
    """Run `config publish` with each value in a file but for the arguments; text is its input."""
    files = []
    for key, value in values.items():
        (platform.directory / key).write_text(f"{value}\n")
        files.append(f"{key}@{key}")
    return platform.cli("config", "publish", *files, *arguments, text=text)


def test_secrets_are_shown_nowhere_whoever_has_declared_them_and_however_they_look(
    vault: Platform,
) -> None:
    """B4: by declaration, by name and by shape, in history, audit, explain, diff, plan and logs,
    also while nothing runs. D13: in dead letters, and values that never stand in argv. A13: an
    exception of megabytes is cut."""
    vault.environment["PLATFORM_SECRET_NAMES"] = "ACME_*, other_things"
    vault.start("--log-level", "debug")
    # Given secrets that were published from files and from standard input
    done = publish(vault, PUBLISHED, "VAULT_HOST=shown", "API_TOKEN=-", text="hush-token\r\n")
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: vault.status()["generation"] == 2)
    values = json.loads(vault.cli("env", "export", "--format", "json").stdout)
    assert values.items() >= {**PUBLISHED, "API_TOKEN": "hush-token", "VAULT_HOST": "shown"}.items()
    # The command line is warned of, and what cannot be read is named
    done = publish(vault, {}, "API_TOKEN=t")
    assert "API_TOKEN=-" in done.stderr
    for wrong, named in (("A@nowhere", "nowhere"), ("=b", "KEY@FILE")):
        done = publish(vault, {}, wrong)
        assert (done.returncode, named in done.stderr) == (2, True), done.stderr
    assert "twice" in publish(vault, {}, "A=-", "B=-").stderr
    # When tasks fail with them, and another changes one
    for task in ("vault.Open", "vault.Shout"):
        assert vault.cli("task", "send", task).returncode == 0
    letters = wait_until(
        lambda: (found := json.loads(said(vault, "dead", "ls", "--json")))[1:] and found
    )
    done = publish(vault, {"AES_KEY": "hush-aes-key-2", "VAULT_BADGE": "hush-badge-2"})
    wait_until(lambda: vault.status()["generation"] > 2)
    told = [json.dumps(letters), *(_shown(vault, key) for key in PUBLISHED)]
    for verb in ("config diff 1 2", "config diff 2 3", "config history --json", "config plan"):
        told.append(said(vault, *verb.split()))
    told += [vault.output(), vault.metrics(), *vault.command_lines()]
    told.append((vault.data_dir / "config" / "audit.jsonl").read_text())
    told.append((vault.data_dir / "audit.jsonl").read_text())
    told.append((vault.data_dir / "config" / "secret_names.json").read_text())
    vault.stop()
    queue = b"".join(p.read_bytes() for p in vault.data_dir.glob("queue.db*"))
    # Then all of them are masked, also for verbs that find no platform and import no plugin
    for verb in ("config explain VAULT_BADGE", "config diff 1 2", "config history --json"):
        told.append(said(vault, *verb.split()))
    assert [text for text in told if "hush" in text.lower()] == []
    assert b"hush" not in queue.lower()
    assert "******" in told[1]
    assert "VAULT_HOST=shown" in "".join(told)
    # And what is too long is cut, with both its ends
    (story,) = (letter for letter in letters if letter["name"] == "vault.Shout")
    assert len(story["error"]) < 10_000
    assert "characters left out" in story["error"]
    assert story["error"].rstrip().endswith("a long story")
    assert len(vault.output()) < 1_000_000


def _shown(platform: Platform, key: str) -> str:
    return said(platform, "config", "explain", key)
