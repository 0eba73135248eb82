"""Roles of accounts, keys, tokens, search, audit."""

import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from skep.configserver.model.access_keys import sign
from tests.configserver import RunningConfigServer
from tests.person import PASSWORD, Person, signed_in
from tests.unit.configserver.portal.editor import AT, save


def make_account(ann: Person, name: str, roles: str) -> None:
    ann.get("/accounts")
    ann.send("/accounts", name=name, roles=roles, password=PASSWORD)
    assert ann.status == 303, ann.html


def test_an_account_does_what_its_roles_allow(server: RunningConfigServer, ann: Person) -> None:
    make_account(ann, "rita", "read someAppId")
    make_account(ann, "eddy", "edit someAppId")
    make_account(ann, "out", "admin other")
    with signed_in(server, "rita") as rita:
        assert "someAppId" in rita.get("/")
        rita.get(AT)
        page = rita.send(f"{AT}/item", key="k", value="2", base="1")
        assert (rita.status, "Your account lacks the role edit" in page) == (403, True)
        for path in ("/accounts", "/tokens", "/audit", "/apps/someAppId/keys"):
            rita.get(path)
            assert rita.status == 403, path
    with signed_in(server, "eddy") as eddy:
        save(eddy, "k", "2")
        assert eddy.status == 303
        eddy.get(f"{AT}/changes")
        assert "may not publish" in eddy.html
        eddy.send(f"{AT}/publish", seen="", name="r")
        assert eddy.status in (403, 409)
    with signed_in(server, "out") as out:
        assert "There are no apps" in out.get("/")
        out.get(AT)
        assert out.status == 403
        assert "holds this text" in out.get("/search?q=k")


def test_an_account_that_is_changed_must_sign_in_again(
    server: RunningConfigServer, ann: Person
) -> None:
    make_account(ann, "tom", "read *")
    with signed_in(server, "tom") as tom:
        ann.send("/accounts/roles", name="tom", roles="edit *")
        tom.get("/")
        assert "/sign-in" in tom.location
    ann.send("/accounts/enable", name="tom")
    with Person(server.url) as tom:
        tom.sign_in("tom")
        assert tom.status == 401
    ann.send("/accounts/enable", name="ann")
    assert ann.status == 400
    ann.send("/accounts", name="bad", roles="god *", password=PASSWORD)
    assert ann.status == 400


def test_an_access_key_is_exchanged(server: RunningConfigServer, ann: Person) -> None:
    path = "/apps/someAppId/keys"
    ann.get(path)
    ann.send(path, enabled="1")
    secret = ann.html.partition('id="secret">')[2].partition("<")[0]
    assert server.config().status_code == 401
    target = "/configs/someAppId/default/application"
    stamp = str(time.time_ns() // 1_000_000)
    signature = sign(secret, stamp, target.encode()).decode()
    headers = {"Authorization": f"Apollo someAppId:{signature}", "Timestamp": stamp}
    assert server.http.get(target, headers=headers).status_code == 200
    number = ann.html.partition('scope="row">')[2].partition("<")[0]
    assert secret not in (ann.get(path), ann.html)[1]
    ann.send(f"{path}/reveal", id=number)
    assert secret in ann.html
    ann.send(f"{path}/set", id=number, act="disable")
    ann.get(path)
    ann.send(f"{path}/set", id=number, act="delete")
    assert "no keys of its own" in ann.get(path)
    assert server.config().status_code == 200


def test_a_token_is_shown_once_and_revoked(server: RunningConfigServer, ann: Person) -> None:
    ann.get("/tokens")
    ann.send("/tokens", name="ci", role="read", app="someAppId", days="3")
    token = ann.html.partition('id="token">')[2].partition("<")[0]
    url = "/apps/someAppId/clusters"
    assert server.http.get(url, headers={"Authorization": token}).status_code == 200
    ann.get("/tokens")
    assert token not in ann.html
    ann.send("/tokens/revoke", name="ci")
    assert server.http.get(url, headers={"Authorization": token}).status_code == 401
    for bad in ({"name": ""}, {"role": "admin"}, {"days": "many"}):
        ann.send("/tokens", **{"name": "x", "role": "read", "app": "", "days": "", **bad})
        assert ann.status == 400, bad


def test_a_search_finds_keys_and_values_but_no_secret_by_its_value(
    server: RunningConfigServer, ann: Person
) -> None:
    server.publish({"db.url": "postgres://Main/db", "db.password": "maintained"})
    page = ann.get("/search?q=MAIN")
    assert "db.url" in page
    assert "db.password" not in page
    assert "db.password" in ann.get("/search?q=password")
    assert "maintained" not in ann.html
    assert ann.get("/search?q=%27%3B--<script>")
    assert "<script>" not in ann.html


def test_the_audit_names_who_did_what(ann: Person) -> None:
    ann.get("/apps/someAppId")
    page = ann.get("/audit?app=someAppId")
    assert "release.normal" in page
    page = ann.get("/audit")
    assert "session.begin" in page
    assert "ann" in page


def test_apps_clusters_and_namespaces_are_made_and_deleted(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get("/")
    ann.send("/apps", app="shop", title="The <shop>")
    assert "The <shop>" in ann.follow()
    ann.send("/apps/shop/clusters", name="eu")
    ann.send("/apps/shop/namespaces", name="menu", format="json", comment="")
    page = ann.get("/apps/shop")
    assert "Cluster eu" in page
    assert "menu.json" in page
    at = "/apps/shop/eu/menu.json"
    ann.get(f"{at}/text")
    ann.send(f"{at}/text", text="{,}", base="{}")
    assert (ann.status, "line 1" in ann.html) == (400, True)
    ann.send(f"{at}/text", text='{"a": 1}', base="{}")
    assert ann.status == 303
    ann.send(f"{at}/delete", confirm="menu")
    assert "Nothing was deleted" in (ann.get(f"{at}/text"))
    ann.send(f"{at}/delete", confirm="menu.json")
    ann.get(f"{at}/text")
    assert ann.status == 404
    ann.send("/apps/shop/add", name="menu.json", cluster="eu")
    assert ann.location == f"/portal{at}"
    ann.send("/apps/shop/add", name="menu.json", cluster="eu")
    assert ann.status == 400
    ann.send("/apps/shop/namespaces", name="shared", format="properties", public="1")
    ann.send("/apps/someAppId/add", name="shared", cluster="default")
    assert ann.location == "/portal/apps/someAppId/default/shared"
    ann.send("/apps/someAppId/add", name="unknown", cluster="default")
    assert ann.status == 404
    for bad in ("", "a b", "../x", "a" * 65, "<b>"):
        ann.send("/apps", app=bad, title="")
        assert ann.status == 400, bad


def test_who_guesses_from_elsewhere_locks_no_one_out(
    server: RunningConfigServer, ann: Person
) -> None:
    make_account(ann, "victor", "read *")
    with Person(server.url) as guesser, Person(server.url) as victor:
        guesser.http.headers["x-forwarded-for"] = "192.0.2.1"
        for _ in range(6):
            guesser.sign_in("victor", "not the password")
        assert guesser.status == 429
        victor.sign_in("victor")
        assert victor.status == 303
        guesser.sign_in("victor")
        assert guesser.status == 429


def test_a_body_that_takes_long_is_not_accepted_from_who_has_lost_the_account(
    server: RunningConfigServer, ann: Person
) -> None:
    make_account(ann, "slow", "admin *")
    with signed_in(server, "slow") as slow:
        slow.get("/accounts")

        def body() -> Iterator[bytes]:
            fields = {"csrf": slow.csrf, "name": "sleeper", "roles": "admin *"}
            form = urlencode({**fields, "password": PASSWORD}).encode()
            yield form[:10]
            ann.get("/accounts")
            ann.send("/accounts/enable", name="slow")
            assert ann.status == 303
            yield form[10:]

        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = slow.http.post("/portal/accounts", content=body(), headers=kind)
    assert answer.status_code == 401
    assert "sleeper" not in ann.get("/accounts")


def test_a_body_that_takes_long_is_not_accepted_by_a_revoked_token(
    server: RunningConfigServer,
) -> None:
    root = {"Authorization": server.token}
    made = server.http.post(
        "/tokens", json={"name": "slow", "roles": {"*": "publish"}}, headers=root
    )

    def body() -> Iterator[bytes]:
        text = json.dumps({"releaseTitle": "late", "releasedBy": "slow"}).encode()
        yield text[:5]
        assert server.http.delete("/tokens/slow", headers=root).status_code == 200
        yield text[5:]

    path = "/openapi/v1/envs/DEV/apps/someAppId/clusters/default/namespaces/application/releases"
    with Person(server.url) as slow:
        headers = {"Authorization": made.json()["token"]}
        answer = slow.http.post(path, content=body(), headers=headers)
    assert (answer.status_code, "is revoked" in answer.text) == (401, True)


def test_events_end_when_the_person_signs_out(server: RunningConfigServer, ann: Person) -> None:
    with ann.http.stream("GET", f"/portal{AT}/instances/events") as events:
        lines = events.iter_lines()
        assert next(lines).startswith("retry")
        ann.get("/")
        ann.send("/sign-out")
        assert ann.status == 303
        deadline = time.monotonic() + 20
        for _ in lines:
            assert time.monotonic() < deadline, "the stream goes on"


def test_numbers_and_texts_of_any_length_are_answered(
    server: RunningConfigServer, ann: Person
) -> None:
    root = {"Authorization": server.token}
    assert server.http.get(f"/releases/{'9' * 5000}", headers=root).status_code == 404
    found = server.http.get("/items-search/key-and-value?key=" + "a" * 60_000, headers=root)
    assert (found.status_code, found.json()["total"]) == (200, 0)
    ann.get(f"{AT}/history?page=" + "9" * 18)
    assert ann.status == 400
