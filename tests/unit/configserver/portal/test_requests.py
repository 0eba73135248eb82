"""Asking for a publish, and approving it, in the portal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.configserver import RunningConfigServer
from tests.person import PASSWORD, Person, signed_in
from tests.unit.configserver.portal.editor import AT, publish, save, values


@pytest.fixture
def bob(server: RunningConfigServer, ann: Person) -> Iterator[Person]:
    """Another person who may publish; each publish takes two people."""
    ann.get("/accounts")
    ann.send("/accounts", name="bob", roles="publish *", password=PASSWORD)
    server.write("PUT", "/policy", {"approval": True})
    with signed_in(server, "bob") as bob:
        yield bob


def ask(person: Person, at: str = "") -> str:
    person.get(f"{AT}/changes")
    return person.send(f"{AT}/ask", seen=person.field("seen"), name="summer", at=at)


def soon() -> str:
    return f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M}"


def test_a_second_person_approves_what_the_page_shows(
    server: RunningConfigServer, ann: Person, bob: Person
) -> None:
    save(ann, "k", "2")
    save(ann, "db.password", "hunter2hunter2")
    assert "Another person must approve it" in ann.get(f"{AT}/changes")
    assert f"{AT}/publish" not in ann.html
    ask(ann)
    page = ann.follow()
    assert "Requests 1" in page
    assert "Another person must approve it" in page
    assert "/requests/approve" not in ann.html
    number = ann.field("id")
    page = ann.send(f"{AT}/requests/approve", id=number)
    assert (ann.status, "another person than 'ann'" in page) == (403, True)
    assert "ann has asked for a publish" in bob.get(f"{AT}/changes")
    page = bob.get(f"{AT}/requests")
    assert "k changed" in page
    assert "<ins>2</ins>" in bob.html
    assert "hunter2" not in bob.html
    assert values(server) == {"k": "v"}
    bob.send(f"{AT}/requests/approve", id=bob.field("id"))
    assert "summer is published" in bob.follow()
    assert values(server) == {"k": "2", "db.password": "hunter2hunter2"}
    page = bob.get(f"{AT}/requests")
    assert "No publish waits" in page
    assert "summer ann" in page
    assert "Requests 1" not in page


def test_what_was_saved_since_is_not_approved(
    server: RunningConfigServer, ann: Person, bob: Person
) -> None:
    save(ann, "k", "2")
    ask(ann)
    bob.get(f"{AT}/requests")
    number = bob.field("id")
    save(ann, "k", "3")
    assert "The items have changed since" in bob.get(f"{AT}/requests")
    assert "/requests/approve" not in bob.html
    bob.send(f"{AT}/requests/withdraw", id=number)
    assert "is withdrawn" in bob.follow()
    ann.get(f"{AT}/changes")
    seen = ann.field("seen")
    save(bob, "k", "4")
    assert "look once more" in ann.send(f"{AT}/ask", seen=seen, name="r")
    assert ann.status == 409
    assert values(server) == {"k": "v"}


def test_a_publish_at_a_time_waits_and_can_be_withdrawn(
    server: RunningConfigServer, ann: Person
) -> None:
    save(ann, "k", "2")
    ann.get(f"{AT}/changes")
    seen, at = ann.field("seen"), soon()
    for wrong in ("soon", "2001-01-01T00:00"):
        ann.send(f"{AT}/publish", seen=seen, at=wrong)
        assert ann.status == 400
    ann.send(f"{AT}/publish", seen=seen, name="summer", at=at)
    assert f"It is published {at.replace('T', ' ')}:00 UTC" in ann.follow()
    assert "/requests/approve" not in ann.html
    ann.send(f"{AT}/requests/withdraw", id=ann.field("id"))
    assert "withdrawn" in ann.follow()
    publish(ann)
    assert values(server) == {"k": "2"}


def test_who_may_edit_asks_and_who_may_read_does_not(
    server: RunningConfigServer, ann: Person, bob: Person
) -> None:
    for name, roles in (("eve", "edit *"), ("ray", "read *")):
        ann.get("/accounts")
        ann.send("/accounts", name=name, roles=roles, password=PASSWORD)
    with signed_in(server, "eve") as eve, signed_in(server, "ray") as ray:
        save(eve, "k", "2")
        ray.get(f"{AT}/changes")
        assert f"{AT}/ask" not in ray.html
        ask(eve, soon())
        assert eve.status == 303
        ray.get(f"{AT}/requests")
        assert "/requests/" not in ray.html
        ann.get(f"{AT}/requests")
        ann.send(f"{AT}/requests/approve", id=ann.field("id"))
        assert "is approved" in ann.follow()
        eve.get(f"{AT}/requests")
        eve.send(f"{AT}/requests/withdraw", id=eve.field("id"))
        assert eve.status == 303
