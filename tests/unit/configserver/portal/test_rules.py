"""What the portal shows when the rules of a namespace forbid a publish."""

import json
from typing import Any

import pytest

from tests.configserver import RunningConfigServer
from tests.person import Person
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
