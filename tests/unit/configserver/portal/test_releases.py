"""History, rollback, gray releases and instances."""

from tests.configserver import RunningConfigServer
from tests.person import Person
from tests.unit.configserver.portal.editor import AT, publish, save, values


def releases(server: RunningConfigServer) -> list[int]:
    """The ids of the releases, the newest first."""
    found = server.http.get(
        "/apps/someAppId/clusters/default/namespaces/application/releases/all?size=50",
        headers={"Authorization": server.token},
    )
    return [one["id"] for one in found.json()]


def test_any_two_releases_are_compared(server: RunningConfigServer, ann: Person) -> None:
    server.publish({"k": "2", "n": "1"})
    new, old = releases(server)
    assert "in force" in ann.get(f"{AT}/history")
    page = ann.get(f"{AT}/compare?left={old}&right={new}")
    assert "k changed" in page
    assert "n added" in page
    assert "n deleted" in ann.get(f"{AT}/compare?left={new}&right={old}")
    ann.get(f"{AT}/compare?left={new}&right=999999")
    assert ann.status == 404
    ann.get(f"{AT}/compare?left=x&right=1")
    assert ann.status == 400


def test_a_rollback_shows_what_it_changes_and_puts_the_items_back(
    server: RunningConfigServer, ann: Person
) -> None:
    server.publish({"k": "2"})
    new, old = releases(server)
    ann.get(f"{AT}/rollback?to={old}")
    assert "<del>2</del>" in ann.html
    assert ann.field("current") == str(new)
    ann.send(f"{AT}/rollback", to=str(old), current=str(new), restore="1")
    assert ann.status == 303
    assert values(server) == {"k": "v"}
    assert "Everything is published" in ann.get(f"{AT}/changes")
    assert "rolled back by ann" in ann.get(f"{AT}/history")


def test_a_rollback_from_another_release_than_shown_changes_nothing(
    server: RunningConfigServer, ann: Person
) -> None:
    server.publish({"k": "2"})
    new, old = releases(server)
    ann.get(f"{AT}/rollback?to={old}")
    server.publish({"k": "3"})
    page = ann.send(f"{AT}/rollback", to=str(old), current=str(new), restore="1")
    assert (ann.status, "another release" in page) == (400, True)
    assert values(server) == {"k": "3"}


def test_a_gray_release_reaches_the_instances_of_its_rules(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray")
    page = ann.follow()
    assert "not released yet" in page
    branch = ann.html.partition("/instances/events")[0].rpartition('data-live="')[2]
    branch = branch.removeprefix("/portal")
    ann.send(f"{AT}/gray/rules", app="someAppId", ips="10.0.0.1 10.0.0.2", labels="blue")
    assert "10.0.0.1, 10.0.0.2" in (ann.follow() and ann.html)
    ann.get(f"{branch}/item")
    ann.send(f"{branch}/item", key="k", value="gray", base="0")
    ann.get(f"{branch}/changes")
    ann.send(f"{branch}/publish", seen=ann.field("seen"), name="gray")
    assert ann.status == 303
    assert values(server) == {"k": "v"}
    assert server.config(ip="10.0.0.1").json()["configurations"] == {"k": "gray"}
    assert server.config(label="blue").json()["configurations"] == {"k": "gray"}
    page = ann.get(f"{AT}/gray")
    assert "10.0.0.1" in page
    assert "released" in page
    assert "10.0.0.1" in ann.get(f"{AT}/instances")
    ann.send(f"{AT}/gray/merge")
    assert ann.status == 303
    assert values(server) == {"k": "gray"}


def test_a_branch_that_is_dropped_is_gone(server: RunningConfigServer, ann: Person) -> None:
    ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray")
    ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray/end")
    assert "Make a branch" in ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray/end")
    assert ann.status == 404


def test_the_instances_follow_a_publish_live(server: RunningConfigServer, ann: Person) -> None:
    server.config(ip="10.1.1.1")
    save(ann, "k", "2")
    with ann.http.stream("GET", f"/portal{AT}/instances/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        assert next(line for line in lines if "10.1.1.1" in line)
        assert next(line for line in lines if ">in force<" in line)
        publish(ann)
        assert next(line for line in lines if ">old<" in line)
        server.config(ip="10.1.1.1")
        assert next(line for line in lines if ">in force<" in line)


def test_all_saves_are_kept_with_both_values(server: RunningConfigServer, ann: Person) -> None:
    save(ann, "k", "an idea")
    save(ann, "db.password", "hunter2hunter2")
    save(ann, "k", "another")
    page = ann.get(f"{AT}/saves")
    assert "ann: k changed" in page
    assert "db.password added" in page
    assert "hunter2" not in ann.html
    assert "<del>an idea</del>" in ann.html
    assert "db.password" not in ann.get(f"{AT}/saves?key=k")
    assert "Nothing was saved of this key" in ann.get(f"{AT}/saves?key=other")


def test_the_items_of_a_branch_do_not_take_on_those_of_its_parent(
    server: RunningConfigServer, ann: Person
) -> None:
    ann.get(f"{AT}/gray")
    ann.send(f"{AT}/gray")
    ann.get(f"{AT}/gray")
    branch = ann.html.partition("/instances/events")[0].rpartition('data-live="/portal')[2]
    ann.send(f"{branch}/item", key="n", value="1", base="0")
    ann.get(f"{branch}/changes")
    assert "Discard" not in ann.html
    ann.send(f"{branch}/publish", seen=ann.field("seen"), name="gray")
    ann.send(f"{branch}/discard")
    assert ann.status == 400
    ann.get(f"{branch}/text")
    assert ann.area() == "n=1\n"
