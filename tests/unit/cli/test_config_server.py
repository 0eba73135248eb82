"""`platform config-server` token, key, user and backup, while a server runs on the same file."""

import json
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from skep.base.errors import PlatformError
from skep.cli.config_server import config_server
from tests.configserver import RunningConfigServer, running_config_server
from tests.person import PASSWORD, Person, signed_in
from tests.support import wait_until

URL = "/openapi/v1/envs/DEV/apps/shop/clusters/default/namespaces/application"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    (tmp_path / "configserver").mkdir()
    with running_config_server(tmp_path / "configserver", app_id="shop") as running:
        running.publish({"k": "v"}, app_id="shop")
        yield running


def run(tmp_path: Path, *words: str) -> str:
    """Run a verb on the data directory; return what it printed."""
    where = ["--data-dir", str(tmp_path), "--env-file", str(tmp_path / ".env")]
    # Not through `platform`: click would keep its names of --help, and the reference page differ.
    return CliRunner().invoke(config_server, [*words, *where], catch_exceptions=False).stdout


def test_a_token_is_made_used_listed_and_revoked(
    server: RunningConfigServer, tmp_path: Path
) -> None:
    text = run(tmp_path, "token", "create", "ci", "--role", "edit", "--app", "shop").strip()

    def put() -> httpx.Response:
        body = {"key": "k", "value": "v2", "dataChangeLastModifiedBy": "ci"}
        headers = {"Authorization": text}
        return server.http.put(f"{URL}/items/k", json=body, headers=headers)

    assert put().status_code == 200
    (listed,) = json.loads(run(tmp_path, "token", "ls", "--json"))
    assert (listed["name"], listed["roles"], listed["expires"]) == ("ci", {"shop": "edit"}, None)
    assert text not in run(tmp_path, "token", "ls")
    run(tmp_path, "token", "revoke", "ci")
    assert put().status_code == 401
    assert "revoked" in run(tmp_path, "token", "ls")


def test_a_key_is_made_and_disabled(server: RunningConfigServer, tmp_path: Path) -> None:
    assert server.config(app_id="shop").status_code == 200
    secret = run(tmp_path, "key", "create", "shop").strip()
    assert server.config(app_id="shop").status_code == 401
    (listed,) = json.loads(run(tmp_path, "key", "ls", "shop", "--json"))
    assert (listed["mode"], listed["enabled"]) == ("filter", True)
    assert secret not in run(tmp_path, "key", "ls", "shop")
    run(tmp_path, "key", "disable", "shop", str(listed["id"]))
    assert server.config(app_id="shop").status_code == 200
    run(tmp_path, "key", "create", "shop", "--observe")
    assert server.config(app_id="shop").status_code == 200


def test_a_backup_is_the_whole_server_for_its_owner_alone(
    server: RunningConfigServer, tmp_path: Path
) -> None:
    copy = tmp_path / "restored" / "config.db"
    copy.parent.mkdir()
    run(tmp_path, "backup", str(copy))
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert list(copy.parent.iterdir()) == [copy]
    before = server.config(app_id="shop").json()
    server.publish({"k": "later"}, app_id="shop")
    with running_config_server(copy.parent) as restored:
        assert restored.config(app_id="shop").json() == before
    with pytest.raises(PlatformError, match="exists"):
        run(tmp_path, "backup", str(copy))
    with pytest.raises(PlatformError, match="No such file"):
        run(tmp_path, "backup", str(tmp_path / "nowhere" / "copy.db"))
    assert copy.exists()


def test_a_backup_has_the_accounts_of_people_too(
    server: RunningConfigServer, tmp_path: Path
) -> None:
    run(tmp_path, "user", "create", "ann", "--role", "admin", "--password-file", password(tmp_path))
    copy, people = tmp_path / "copy.db", tmp_path / "copy.db.accounts"
    assert str(people) in run(tmp_path, "backup", str(copy))
    assert stat.S_IMODE(people.stat().st_mode) == 0o600
    restored = tmp_path / "restored"
    restored.mkdir()
    (restored / "config.db").write_bytes(copy.read_bytes())
    (restored / "accounts.db").write_bytes(people.read_bytes())
    with running_config_server(restored) as running, signed_in(running) as ann:
        assert "shop" in ann.get("/")
    copy.unlink()
    with pytest.raises(PlatformError, match=r"copy\.db\.accounts exists"):
        run(tmp_path, "backup", str(copy))
    assert not copy.exists()


def password(tmp_path: Path) -> str:
    """A file with the password of a person."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return str(file)


def test_what_is_exported_is_what_is_imported(server: RunningConfigServer, tmp_path: Path) -> None:
    server.publish({"content": "a: 1\r\n"}, "doc.yaml", app_id="shop", cluster="blue")
    server.publish({"a b": " x\ny", "ä": "中"}, app_id="shop")
    server.open_api.set_item("shop", "default", "application", "k", "a draft", "ann")
    folder = tmp_path / "out"
    assert "2 new, 0 overwritten" in run(tmp_path, "export", str(folder))
    assert (folder / "shop/blue/doc.yaml").read_bytes() == b"a: 1\r\n"
    text = (folder / "shop/default/application.properties").read_text()
    assert text == "k=v\na\\ b=\\ x\\ny\nä=中\n"
    # The draft is not lost, so the namespace differs
    assert run(tmp_path, "import", str(folder)) == ""
    # When a file is changed and read by a server that runs, its clients are woken
    old = server.poll({"application": -1}, app_id="shop").json()[0]["notificationId"]
    (folder / "shop/default/application.properties").write_text("# why\nk=new\n")
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(server.poll, {"application": old}, app_id="shop")
        wait_until(lambda: server.watchers.held == 1)
        assert "1 overwritten" in run(tmp_path, "import", str(folder), "--overwrite")
        assert poll.result(20).json()[0]["notificationId"] > old
    assert server.config(app_id="shop").json()["configurations"] == {"k": "new"}
    assert "2 the same" in run(tmp_path, "import", str(folder))


def test_without_a_file_there_is_nothing_to_administer(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"no config server's file at .*config\.db"):
        run(tmp_path, "token", "ls")


def test_rules_are_set_shown_and_checked(server: RunningConfigServer, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"properties": {"k": {"enum": ["v"]}}}')
    name = ("shop", "application")
    said = run(tmp_path, "policy", "set", *name, "--schema", str(schema), "--require", "k")
    assert "Required keys: k." in said
    assert "follow every rule" in run(tmp_path, "policy", "check", *name)
    server.open_api.set_item("shop", "default", "application", "k", "w", "ann")
    assert "'k' breaks the rule `enum`" in run(tmp_path, "policy", "check", *name)
    with pytest.raises(PlatformError, match="'k' breaks the rule"):
        server.publish({}, app_id="shop")
    # What is not named stays
    assert "Schema: yes" in run(tmp_path, "policy", "set", *name, "--no-require", "k")
    run(tmp_path, "policy", "set", *name, "--no-schema")
    shown = json.loads(run(tmp_path, "policy", "show", *name, "--json"))
    assert shown == {"schema": "", "required": [], "approval": False}
    server.publish({}, app_id="shop")
    with pytest.raises(PlatformError, match="cannot be read"):
        run(tmp_path, "policy", "set", *name, "--schema", str(tmp_path / "none"))


def test_a_publish_is_asked_for_and_withdrawn(server: RunningConfigServer, tmp_path: Path) -> None:
    name = ("shop", "application")
    assert "approve: yes" in run(tmp_path, "policy", "set", *name, "--approval")
    assert "is open" in run(tmp_path, "request", "create", *name)
    (listed,) = json.loads(run(tmp_path, "request", "ls", "--json"))
    assert (listed["namespaceName"], listed["at"]) == ("application", None)
    with pytest.raises(PlatformError, match="another person"):
        run(tmp_path, "request", "approve", str(listed["id"]))
    assert "application" in run(tmp_path, "request", "ls")
    assert "withdrawn" in run(tmp_path, "request", "withdraw", str(listed["id"]))
    assert json.loads(run(tmp_path, "request", "ls", "--json")) == []
    with pytest.raises(PlatformError, match="not like"):
        run(tmp_path, "request", "create", *name, "--at", "soon")


def test_a_user_is_made_with_a_password_from_a_file_listed_and_disabled(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    file = ("--password-file", str(secret))
    run(tmp_path, "user", "create", "ann", "--role", "edit", "--app", "shop", *file)
    (listed,) = json.loads(run(tmp_path, "user", "ls", "--json"))
    assert (listed["name"], listed["roles"], listed["disabled"]) == ("ann", {"shop": "edit"}, None)
    assert "ann" in run(tmp_path, "user", "ls")
    with running_config_server(tmp_path) as server, Person(server.url) as person:
        person.sign_in("ann")
        assert person.status == 303
        run(tmp_path, "user", "disable", "ann")
        assert "/sign-in" in (person.get("/") or person.location)
        run(tmp_path, "user", "enable", "ann")
        secret.write_text("another password of hers")
        run(tmp_path, "user", "password", "ann", *file)
        person.sign_in("ann", "another password of hers")
        assert person.status == 303
    with pytest.raises(PlatformError, match="already"):
        run(tmp_path, "user", "create", "ann", *file)
    secret.write_text("short")
    with pytest.raises(PlatformError, match="10 to 1000"):
        run(tmp_path, "user", "create", "bob", *file)
    with pytest.raises(PlatformError, match="no account"):
        run(tmp_path, "user", "disable", "bob")
