"""The portal over a real socket: from the first sign-in to a published release."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.configserver import RunningConfigServer, running_config_server
from tests.person import PASSWORD, Person, make_first_account, signed_in
from tests.unit.configserver.portal.editor import AT, publish, save, values


def test_the_first_account_needs_the_text_of_the_server_s_file(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server, Person(server.url) as person:
        assert person.http.get("/").headers["location"] == "/portal/"
        person.get("/")
        assert person.location == "/portal/sign-in?next=%2Fportal%2F"
        person.follow()
        assert person.location == "/portal/first-account"
        assert "configserver/token" in person.follow()
        form = {"name": "ann", "password": PASSWORD, "again": PASSWORD}
        assert "That is not the text" in person.send("/first-account", setup="guess", **form)
        assert server.token not in person.html
        shorter = {**form, "password": "short", "again": "short"}
        assert "10 to 1000" in person.send("/first-account", setup=server.token, **shorter)
        person.send("/first-account", setup=server.token, **form)
        assert (person.status, person.location) == (303, "/portal/")
        assert "Sign out" in person.follow()
        person.get("/first-account")
        assert person.location == "/portal/sign-in"
        person.csrf = ""
        person.send("/first-account", setup=server.token, **form)
        assert person.status == 403


def test_an_edit_is_compared_published_and_read_by_clients(
    server: RunningConfigServer, ann: Person
) -> None:
    assert "someAppId" in ann.get("/")
    assert "application" in ann.get("/apps/someAppId")
    save(ann, "k", "<b>2</b>")
    assert (ann.status, ann.location) == (303, f"/portal{AT}")
    page = ann.follow()
    assert "k is saved" in page
    assert "changed, not published" in page
    assert "<b>2</b>" not in ann.html
    assert values(server) == {"k": "v"}
    ann.get(f"{AT}/changes")
    assert "<del>v</del>" in ann.html
    assert "<ins>&lt;b&gt;2&lt;/b&gt;</ins>" in ann.html
    publish(ann)
    assert ann.location == f"/portal{AT}/instances"
    assert values(server) == {"k": "<b>2</b>"}
    assert "Everything is published" in ann.get(f"{AT}/changes")


def test_what_was_saved_after_the_page_was_loaded_is_not_published(
    server: RunningConfigServer, ann: Person
) -> None:
    save(ann, "k", "2")
    ann.get(f"{AT}/changes")
    seen = ann.field("seen")
    server.open_api.set_item("someAppId", "default", "application", "k", "3", "bob")
    page = ann.send(f"{AT}/publish", seen=seen, name="r")
    assert ann.status == 409
    assert "look once more" in page
    assert values(server) == {"k": "v"}


def test_the_second_of_two_edits_is_a_conflict_that_shows_both(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/item?key=k")
    base = ann.field("base")
    with signed_in(server) as bob:
        save(bob, "k", "hers")
    page = ann.send(f"{AT}/item", key="k", value="mine", base=base)
    assert ann.status == 409
    assert "hers" in page
    assert ann.area() == "mine"
    ann.send(f"{AT}/item", key="k", value="both", base=ann.field("base"))
    assert ann.status == 303
    assert "both" in ann.get(AT)
    ann.send(f"{AT}/item/delete", key="k", base=base)
    assert ann.status == 409
    assert "You deleted the item" in ann.html


def test_a_text_is_checked_saved_and_never_overwrites_another_edit(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/text")
    assert ann.area() == "k=v\n"
    base = ann.field("base")
    answer = ann.send(f"{AT}/text/check", text="k=\\u00")
    assert ('"ok":false' in answer, "line 1" in answer) == (True, True)
    assert "line 2" in ann.send(f"{AT}/text", text="k=1\nk=2\n", base=base)
    assert (ann.status, ann.area()) == (400, "k=1\nk=2\n")
    save(ann, "k", "hers")
    page = ann.send(f"{AT}/text", text="# why\nk=mine\nn=1\n", base=base)
    assert ann.status == 409
    assert ("hers" in page, "mine" in page) == (True, True)
    ann.send(f"{AT}/text", text=ann.area(), base=ann.field("base"))
    assert ann.location == f"/portal{AT}/changes"
    ann.get(f"{AT}/text")
    assert ann.area() == "# why\nk=mine\nn=1\n"


def test_secrets_are_masked_until_they_are_revealed_and_that_is_audited(
    server: RunningConfigServer, ann: Person
) -> None:
    server.publish({"db.password": "hunter2hunter2"})
    for path in ("", "/text", "/changes", "/item?key=db.password"):
        ann.get(f"{AT}{path}")
        assert "hunter2" not in ann.html
    ann.get(f"{AT}/text")
    ann.send(f"{AT}/text", text=ann.area().replace("k=v", "k=2"), base=ann.field("base"))
    publish(ann)
    assert values(server) == {"k": "2", "db.password": "hunter2hunter2"}
    ann.get(f"{AT}/item?key=db.password")
    ann.send(f"{AT}/item", key="db.password", value="x******", base=ann.field("base"))
    assert ann.status == 400
    assert "hunter2hunter2" in ann.send(f"{AT}/reveal", key="db.password")
    audit = server.http.get("/audit?appId=someAppId", headers={"Authorization": server.token})
    (first, *_) = audit.json()
    assert (first["actor"], first["action"]) == ("ann", "secret.reveal")
    assert first["detail"] == {"key": "db.password"}


def test_pages_forbid_foreign_scripts_frames_and_caches(ann: Person) -> None:
    ann.get("/")
    policy = ann.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert ann.headers["cache-control"] == "no-store"
    ann.get("/nothing/at/all")
    assert ann.status == 404
    assert ann.headers["content-security-policy"] == policy
    assert "<script>" not in ann.html
    assert " style=" not in ann.html


def test_a_form_of_another_site_or_without_its_token_changes_nothing(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/item?key=k")
    fields = {"csrf": ann.csrf, "key": "k", "value": "2", "base": ann.field("base")}
    url = f"/portal{AT}/item"
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": server.url},
        {"host": "evil.example"},
    ):
        answer = ann.http.post(url, data=fields, headers=headers)
        assert answer.status_code in (403, 421), headers
    assert ann.http.post(url, data={**fields, "csrf": "0" * 32}).status_code == 403
    assert ann.http.post(url, data={**fields, "csrf": "é"}).status_code == 403
    assert ann.http.post(url, json=fields).status_code == 415
    assert ann.http.post(url, content=b"a" * (8 << 20)).status_code == 413
    assert ann.http.post(url, content=b"csrf=%ff").status_code == 400
    assert "changed" not in ann.get(AT)


def test_a_guesser_is_locked_out(server: RunningConfigServer) -> None:
    with Person(server.url) as person:
        for _ in range(5):
            person.sign_in("carl", "wrong wrong wrong")
            assert person.status == 401
        person.sign_in("Carl", "wrong wrong wrong")
        assert person.status == 429
        person.sign_in("ann")
        assert person.status == 303


def test_a_cookie_ends_with_its_session(server: RunningConfigServer, ann: Person) -> None:
    cookies = dict(ann.http.cookies)
    ann.get("/")
    assert "httponly" in str(ann.headers).lower() or cookies
    ann.send("/sign-out")
    assert "/sign-in" in ann.location
    ann.http.cookies.clear()
    ann.http.cookies.update(cookies)
    ann.get("/")
    assert "/sign-in" in ann.location
    ann.sign_in("ann")
    with signed_in(server) as other:
        other.get("/password")
        new = "another password of mine"
        other.send("/password", old=PASSWORD, password=new, again=new)
        assert other.status == 303
        ann.get("/")
        assert "/sign-in" in ann.location
        other.get("/password")
        other.send("/password", old=new, password=PASSWORD, again=PASSWORD)
        assert other.status == 303


def test_the_next_page_is_one_of_ours(server: RunningConfigServer) -> None:
    for target in ("//evil.example", "https://evil.example", "/portal/\\evil", "/portalx"):
        with Person(server.url) as person:
            person.get("/sign-in")
            person.send("/sign-in", name="ann", password=PASSWORD, next=target)
            assert person.location == "/portal/"


def test_a_config_server_without_visitors_loads_no_templates() -> None:
    code = (
        "import sys, skep.configserver.directory\n"
        "print({'jinja2', 'argon2', 'cffi', 'multipart'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "set()", out.stderr


def test_what_a_person_wrote_survives_a_file_that_another_process_holds(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server:
        make_first_account(server)
        server.publish({"k": "v"})
        with signed_in(server) as ann, closing(sqlite3.connect(tmp_path / "config.db")) as other:
            ann.get(f"{AT}/item?key=k")
            base = ann.field("base")
            other.execute("BEGIN IMMEDIATE")
            page = ann.send(f"{AT}/item", key="k", value="precious", base=base)
            assert (ann.status, "Nothing was changed" in page) == (500, True)
            assert ann.area() == "precious"
            assert values(server) == {"k": "v"}
            other.execute("ROLLBACK")
            ann.send(f"{AT}/item", key="k", value=ann.area(), base=ann.field("base"))
            assert ann.status == 303


def test_a_form_that_was_open_when_the_session_ended_is_sent_after_the_next_sign_in(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/item?key=k")
    form = {"csrf": ann.csrf, "key": "k", "value": "kept", "base": ann.field("base")}
    ann.send("/sign-out")
    ann.http.cookies.clear()
    assert ann.http.post(f"/portal{AT}/item", data=form).status_code == 401
    ann.sign_in("ann")
    assert ann.http.post(f"/portal{AT}/item", data=form).status_code == 303
    assert "kept" in ann.get(AT)


def test_odd_keys_values_and_numbers_are_saved_or_refused(
    server: RunningConfigServer, ann: Person
) -> None:
    odd = "'; DROP TABLE item; -- <img src=x onerror=alert(1)> \u2028 {{ 7 * 7 }} é"
    save(ann, odd[:100], odd)
    assert ann.status == 303
    page = ann.get(AT)
    assert "{{ 7 * 7 }}" in page
    assert "<img" not in ann.html
    server.open_api.set_item("someAppId", "default", "application", " blank ", "1", "bob")
    ann.get(f"{AT}/item?key=%20blank%20")
    ann.send(f"{AT}/item", key=" blank ", value="2", base=ann.field("base"))
    assert ann.status == 303
    publish(ann)
    assert values(server) == {"k": "v", odd[:100]: odd, " blank ": "2"}
    ann.get(f"{AT}/item")
    for bad in (
        {"key": ""},
        {"key": "x" * 129},
        {"value": "v" * 20_001},
        {"comment": "c" * 1025},
        {"base": "-1"},
        {"base": "9" * 40},
    ):
        ann.send(f"{AT}/item", **{"key": "n", "value": "1", "base": "0", **bad})
        assert ann.status == 400, bad
    for path in (f"{AT}/history?page={'9' * 15}", f"{AT}/saves?page={'9' * 15}"):
        ann.get(path)
        assert ann.status == 200, path
    ann.get(f"{AT}/history?page={'9' * 30}")
    assert ann.status == 400
    ann.get("/apps/%ff/%00/x")
    assert ann.status in (403, 404)
