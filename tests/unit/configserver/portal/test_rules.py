"""What the portal shows when the rules of a namespace forbid a publish."""

from typing import Any

import pytest

from tests.configserver import RunningConfigServer
from tests.person import Person
from tests.unit.configserver.portal.editor import publish, save, values


@pytest.mark.parametrize(
    ("rules", "status", "reason"),
    [({"required": ["MORE"]}, 400, "MORE"), ({"approval": True}, 403, "needs a second person")],
)
def test_a_publish_that_the_rules_forbid_is_explained(
    server: RunningConfigServer, ann: Person, rules: dict[str, Any], status: int, reason: str
) -> None:
    assert server.write("PUT", "/policy", rules).status_code == 200
    save(ann, "k", "2")
    page = publish(ann)
    assert (ann.status, reason in page) == (status, True)
    assert values(server) == {"k": "v"}
