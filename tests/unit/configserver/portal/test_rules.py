"""What the portal shows when the rules of a namespace forbid a publish."""

import json
from typing import Any

import pytest

from tests.configserver import RunningConfigServer
from tests.person import PASSWORD, Person, signed_in
from tests.unit.configserver.portal.editor import AT, publish, save, values


@pytest.mark.parametrize(
    ("rules", "status", "reason"),
    [({"required": ["MORE"]}, 400, "MORE"), ({"approval": True}, 403, "needs a second person")],
)
def test_a_publish_that_the_rules_forbid_is_explained(
    server: RunningConfigServer, ann: Person, rules: dict[str, Any], status: int, reason: str
) -> None:
    save(ann, "k", "2")
    ann.get(f"{AT}/changes")
    # The rules are set while the person looks at the page
    assert server.write("PUT", "/policy", rules).status_code == 200
    page = ann.send(f"{AT}/publish", seen=ann.field("seen"), name="r")
    assert (ann.status, reason in page) == (status, True)
    assert values(server) == {"k": "v"}


def test_what_the_rules_would_refuse_is_shown_before_a_publish_and_after_a_save(
    server: RunningConfigServer, ann: Person
) -> None:
    number = {"type": "integer"}
    schema = json.dumps({"properties": {"k": {"maxLength": 3}, "db.password": number}})
    server.write("PUT", "/policy", {"schema": schema, "required": ["MORE"]})
    save(ann, "k", "too long")
    page = ann.follow()
    assert 'k maxLength 3 "too long"' in page
    assert "MORE required missing" in page
    save(ann, "db.password", "hunter2hunter2")
    page = ann.get(f"{AT}/changes")
    assert 'db.password type "integer"' in page
    assert "hunter2" not in ann.html
    assert f"{AT}/publish" not in ann.html
    ann.get(f"{AT}/text")
    ann.send(f"{AT}/text", text="k=2\nMORE=1\n", base=ann.field("base"))
    assert "The rules forbid" not in ann.follow()
    publish(ann)
    assert values(server) == {"k": "2", "MORE": "1"}


def test_an_administrator_sets_the_rules(server: RunningConfigServer, ann: Person) -> None:
    ann.get(f"{AT}/rules")
    ann.send(f"{AT}/rules", schema='{"maxProperties": 1}', required="MORE\n\n b \nb", approval="1")
    assert "The rules are saved" in ann.follow()
    assert server.write("GET", "/policy").json() == {
        "schema": '{"maxProperties": 1}',
        "required": ["MORE", "b"],
        "approval": True,
    }
    page = ann.send(f"{AT}/rules", schema='{"type": 7}', required="MORE")
    assert (ann.status, "not JSON Schema 2020-12" in page) == (400, True)
    # What was written is not lost
    assert "{&#34;type&#34;: 7}" in ann.html
    ann.send(f"{AT}/rules")
    assert server.write("GET", "/policy").json() == {
        "schema": "",
        "required": [],
        "approval": False,
    }


def test_others_see_the_rules_and_cannot_set_them(server: RunningConfigServer, ann: Person) -> None:
    server.write("PUT", "/policy", {"required": ["MORE"], "approval": True})
    ann.get("/accounts")
    ann.send("/accounts", name="pia", roles="publish *", password=PASSWORD)
    with signed_in(server, "pia") as pia:
        page = pia.get(f"{AT}/rules")
        assert "MORE" in page
        assert "needs a second person" in page
        assert "Save the rules" not in page
        pia.send(f"{AT}/rules")
        assert pia.status == 403
    assert server.write("GET", "/policy").json()["required"] == ["MORE"]


def test_a_branch_has_the_rules_of_its_namespace(server: RunningConfigServer, ann: Person) -> None:
    server.write("PUT", "/policy", {"approval": True})
    ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray")
    ann.get(f"{AT}/gray")
    branch = ann.html.partition("/instances/events")[0].rpartition('data-live="/portal')[2]
    ann.send(f"{branch}/item", key="k", value="gray", base="0")
    assert "Ask for a publish" in ann.get(f"{branch}/changes")
    assert f"{branch}/rules" not in ann.html
    ann.send(f"{branch}/ask", seen=ann.field("seen"), name="gray")
    assert "Another person must approve it" in ann.follow()
