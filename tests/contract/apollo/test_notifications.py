"""`/notifications/v2` and the legacy `/notifications`: cases C69 to C92."""

import json
import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.contract.apollo.conftest import started
from tests.contract.apollo.target import USER, ApolloTarget, asked
from tests.support import wait_until


def test_the_first_poll_is_answered_at_once(target: ApolloTarget, app: str) -> None:
    """C69."""
    target.publish({"k1": "v1"}, app_id=app)
    (entry,) = target.poll({"application": -1}, app_id=app).json()
    number = entry["notificationId"]
    assert number > 0
    assert entry == {
        "namespaceName": "application",
        "notificationId": number,
        "messages": {"details": {f"{app}+default+application": number}},
    }


def test_a_poll_that_knows_the_latest_ends_in_304(hasty: ApolloTarget, app: str) -> None:
    """C70."""
    hasty.publish({"k1": "v1"}, app_id=app)
    answer = hasty.poll({"application": hasty.newest(app_id=app)}, app_id=app)
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_held_poll_is_woken_by_a_release(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C71."""
    target.publish({"k1": "v1"}, app_id=app)
    target.publish({"k1": "v1"}, "other", app_id=app)
    old = target.newest(app_id=app)
    # Given a poll that watches two namespaces
    ids = {"application": old, "other": target.newest("other", app_id=app)}
    poll = target.held(pool, ids, app_id=app)
    # When one of them is published
    target.publish({"k1": "v2"}, app_id=app)
    # Then the answer is about it alone
    answer = poll.result(5)
    (entry,) = answer.json()
    assert entry["namespaceName"] == "application"
    assert entry["notificationId"] > old
    key = f"{app}+default+application"
    assert entry["messages"] == {"details": {key: entry["notificationId"]}}
    assert answer.text == json.dumps([entry], separators=(",", ":"))


def test_a_poll_with_an_older_id_is_answered_at_once(target: ApolloTarget, app: str) -> None:
    """C72."""
    target.publish({"k1": "v1"}, app_id=app)
    current = target.newest(app_id=app)
    answer = target.poll({"application": current - 1}, app_id=app)
    assert answer.json()[0]["notificationId"] == current


def test_a_poll_from_the_future_is_held_but_woken(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C73."""
    target.publish({"k1": "v1"}, app_id=app)
    poll = target.held(pool, {"application": target.newest(app_id=app) + 1000}, app_id=app)
    target.publish({"k1": "v2"}, app_id=app)
    assert poll.result(5).json()[0]["notificationId"] == target.newest(app_id=app)


def test_several_outdated_namespaces_come_together(target: ApolloTarget, app: str) -> None:
    """C74."""
    target.publish({"k1": "v1"}, "one", app_id=app)
    target.publish({"k1": "v1"}, "two", app_id=app)
    entries = target.poll({"one": -1, "two": 0}, app_id=app).json()
    assert [(e["namespaceName"], list(e["messages"]["details"])) for e in entries] == [
        ("one", [f"{app}+default+one"]),
        ("two", [f"{app}+default+two"]),
    ]


def test_only_what_is_outdated_is_reported(target: ApolloTarget, app: str) -> None:
    """C75."""
    target.publish({"k1": "v1"}, "one", app_id=app)
    target.publish({"k1": "v1"}, "two", app_id=app)
    ids = {"one": target.newest("one", app_id=app), "two": -1}
    entries = target.poll(ids, app_id=app).json()
    assert [entry["namespaceName"] for entry in entries] == ["two"]


def test_the_clients_spelling_is_echoed_and_the_key_is_canonical(
    target: ApolloTarget, app: str
) -> None:
    """C76."""
    target.publish({"k1": "v1"}, app_id=app)
    (entry,) = target.poll({"APPLICATION": -1}, app_id=app, cluster="default").json()
    assert entry["namespaceName"] == "APPLICATION"
    assert list(entry["messages"]["details"]) == [f"{app}+default+application"]


def test_the_suffix_properties_is_not_echoed(target: ApolloTarget, app: str) -> None:
    """C77."""
    target.publish({"k1": "v1"}, app_id=app)
    (entry,) = target.poll({"application.properties": -1}, app_id=app).json()
    assert entry["namespaceName"] == "application"


@pytest.mark.parametrize("old_first", [True, False])
def test_of_two_spellings_the_older_id_counts(
    target: ApolloTarget, app: str, old_first: bool
) -> None:
    """C78."""
    target.publish({"k1": "v1"}, app_id=app)
    current = target.newest(app_id=app)
    ids = [("APPLICATION", current - 1), ("application", current)]
    answer = target.poll(dict(ids if old_first else ids[::-1]), app_id=app)
    assert [entry["namespaceName"] for entry in answer.json()] == ["APPLICATION"]


@pytest.mark.parametrize("notifications", ["garbage", "[]", "null", '[{"namespaceName":""}]'])
def test_a_poll_for_no_namespace_is_refused(
    target: ApolloTarget, app: str, notifications: str
) -> None:
    """C79."""
    answer = target.poll(notifications, app_id=app)
    assert answer.status_code == 400
    assert "notifications" in answer.json()["message"]


@pytest.mark.parametrize("missing", ["appId", "cluster", "notifications"])
def test_a_poll_without_a_parameter_is_refused(
    target: ApolloTarget, app: str, missing: str
) -> None:
    """C80. Upstream answers 500 for two of them."""
    query = {"appId": app, "cluster": "default", "notifications": asked({"application": -1})}
    del query[missing]
    answer = target.http.get("/notifications/v2", params=query)
    assert answer.status_code in ((400,) if missing == "appId" or target.is_ours else (400, 500))


def test_a_poll_for_the_unknown_is_held_then_304(hasty: ApolloTarget, app: str) -> None:
    """C81."""
    hasty.set_item("k1", "v1", "drafted", app_id=app)
    assert hasty.poll({"unknown": -1, "drafted": -1}, app_id=app).status_code == 304


@pytest.mark.parametrize("cluster", ["default", "someDC"])
def test_a_client_of_a_public_namespace_is_woken_by_its_owner(
    target: ApolloTarget, app: str, public: str, cluster: str, pool: ThreadPoolExecutor
) -> None:
    """C82."""
    owner = f"owner{app}"
    target.define(owner, public, public=True)
    target.ensure(owner, cluster)
    target.settle()
    poll = target.held(pool, {public: -1}, app_id=app, dataCenter="someDC")
    target.publish({"k1": "v1"}, public, app_id=owner, cluster=cluster)
    (entry,) = poll.result(5).json()
    assert list(entry["messages"]["details"]) == [f"{owner}+{cluster}+{public}"]
    at = {"app_id": app, "dataCenter": "someDC"}
    assert target.newest(public, **at) == entry["notificationId"]
    assert target.poll({public: -1}, **at).json() == [entry]


def test_a_client_is_woken_by_its_clusters_alone(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C83."""
    for cluster in ("A", "B", "dc"):
        target.ensure(app, cluster)
    # Given a client in cluster A with a data center
    poll = target.held(pool, {"application": -1}, app_id=app, cluster="A", dataCenter="dc")
    # When another cluster is published, and then the default one
    target.publish({"k1": "v1"}, app_id=app, cluster="B")
    target.publish({"k1": "v1"}, app_id=app)
    # Then it is woken by the default one
    (entry,) = poll.result(5).json()
    assert list(entry["messages"]["details"]) == [f"{app}+default+application"]
    # And it gets all its clusters at once when it asks from the beginning
    target.publish({"k1": "v1"}, app_id=app, cluster="A")
    target.publish({"k1": "v1"}, app_id=app, cluster="dc")
    news = target.poll({"application": -1}, app_id=app, cluster="A", dataCenter="dc").json()
    details = news[0]["messages"]["details"]
    assert sorted(details) == [f"{app}+{c}+application" for c in ("A", "dc", "default")]
    assert news[0]["notificationId"] == max(details.values())


def test_a_release_before_the_poll_is_not_lost(target: ApolloTarget, app: str) -> None:
    """C84."""
    target.publish({"k1": "v1"}, app_id=app)
    old = target.newest(app_id=app)
    target.config(app_id=app)
    target.publish({"k1": "v2"}, app_id=app)
    assert target.poll({"application": old}, app_id=app).json()[0]["notificationId"] > old


def test_a_release_in_the_very_moment_of_the_poll_is_not_lost(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C84."""
    target.publish({"k1": "v1"}, app_id=app)
    seen = target.newest(app_id=app)
    for _ in range(50):
        poll = pool.submit(target.poll, {"application": seen}, app_id=app)
        target.release(app_id=app)
        # A lost one would be held.
        number = poll.result(10).json()[0]["notificationId"]
        assert number > seen
        seen = number


ACTS = ["rollback", "gray release", "rules", "end of a branch", "merge", "deletion"]


@pytest.mark.parametrize("act", ACTS)
def test_every_act_that_clients_must_see_wakes_them(
    target: ApolloTarget, app: str, act: str, pool: ThreadPoolExecutor
) -> None:
    """C85."""
    target.publish({"k1": "v1"}, "other", app_id=app)
    newest = target.publish({"k1": "v2"}, "other", app_id=app)
    at = {"namespace": "other", "app_id": app}
    branch = target.branch(app, "other", ips=("1.1.1.1",), k1="gray")
    rule = {"clientAppId": app, "clientIpList": ["1.1.1.2"], "clientLabelList": []}
    acts: dict[str, Callable[[], object]] = {
        "rollback": lambda: target.roll_back(newest),
        "gray release": lambda: target.release(path=f"/branches/{branch}/releases", **at),
        "rules": lambda: target.set_rules(branch, [rule], **at),
        "end of a branch": lambda: target.write(
            "DELETE", f"/branches/{branch}", operator=USER, **at
        ),
        "merge": lambda: target.release(path=f"/branches/{branch}/merge", **at),
        "deletion": lambda: target.admin.delete(
            f"/apps/{app}/clusters/default/namespaces/other", params={"operator": USER}
        ),
    }
    old = target.newest("other", app_id=app)
    poll: Future[httpx.Response] = target.held(pool, {"other": old}, app_id=app)
    acts[act]()
    (entry,) = poll.result(5).json()
    assert list(entry["messages"]["details"]) == [f"{app}+default+other"]
    assert entry["notificationId"] > old


def test_of_fifty_namespaces_the_three_changed_are_reported(target: ApolloTarget, app: str) -> None:
    """C86."""
    names = [f"namespace-{n}" for n in range(50)]
    for name in names:
        target.ensure(app, "default", name)
        target.release(name, app_id=app)
    target.settle()
    news = target.poll(dict.fromkeys(names, -1), app_id=app).json()
    ids = {entry["namespaceName"]: entry["notificationId"] for entry in news}
    assert sorted(ids) == sorted(names)
    for name in names[3:6]:
        target.publish({}, name, app_id=app)
    found = [entry["namespaceName"] for entry in target.poll(ids, app_id=app).json()]
    assert sorted(found) == sorted(names[3:6])


def test_each_of_two_clients_gets_its_own_spelling(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C87."""
    target.ensure(app)
    names = ["application", "APPLICATION"]
    polls = [target.held(pool, {name: -1}, app_id=app) for name in names]
    target.publish({"k1": "v1"}, app_id=app)
    assert [poll.result(5).json()[0]["namespaceName"] for poll in polls] == names


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def begin_poll(target: ApolloTarget, app: str) -> socket.socket:
    """Send a poll on a connection of its own, without a thread to wait for its answer."""
    asks = {"appId": app, "cluster": "default", "notifications": asked({"application": -1})}
    at = target.http.base_url
    client = socket.create_connection((at.host, at.port or 80), timeout=30)
    head = f"GET /notifications/v2?{urlencode(asks)} HTTP/1.1\r\nHost: {at.host}\r\n\r\n"
    client.sendall(head.encode())
    return client


def wait_held(target: ApolloTarget, count: int) -> None:
    """Wait until a server that can be asked holds this many polls."""
    held = target.count_held
    if held is not None:
        wait_until(lambda: held() == count)


@pytest.mark.usefixtures("many_descriptors")
def test_five_hundred_held_polls_are_woken_by_one_release(target: ApolloTarget, app: str) -> None:
    """C88."""
    target.ensure(app)
    before = target.count_held() if target.count_held else 0
    clients = [begin_poll(target, app) for _ in range(500)]
    wait_held(target, before + 500)
    target.publish({"k1": "v1"}, app_id=app)
    assert target.config(app_id=app).status_code == 200
    for client in clients:
        with client:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    wait_held(target, before)


def test_a_thousand_clients_that_leave_are_forgotten(target: ApolloTarget, app: str) -> None:
    """C89."""
    before = target.count_held() if target.count_held else 0
    for _ in range(10):
        clients = [begin_poll(target, app) for _ in range(100)]
        wait_held(target, before + 100)
        for client in clients:
            client.close()
        wait_held(target, before)
    assert target.config(app_id=app).status_code == 404


def test_ids_rise_over_apps(target: ApolloTarget, app: str) -> None:
    """C90."""
    ids = []
    for name in (app, f"{app}2", app):
        target.publish({"k1": "v1"}, app_id=name)
        ids.append(target.newest(app_id=name))
    assert ids == sorted(set(ids))


def test_ids_rise_over_restarts(own: Path) -> None:
    """C90."""
    ids = []
    for _ in range(2):
        with started(own) as target:
            for app in ("one", "two", "one"):
                target.publish({"k1": "v1"}, app_id=app)
                ids.append(target.newest(app_id=app))
    assert ids == sorted(set(ids))


def test_odd_parameters_of_a_poll_are_accepted(target: ApolloTarget, app: str) -> None:
    """C91."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = target.poll(
        '[{"namespaceName":"application","messages":{"x":[]},"extra":1},{"namespaceName":""}]',
        app_id=app,
        **{"ip": "undefined", "label": "", "dataCenter": "", "whatever": "1"},
    )
    assert [entry["namespaceName"] for entry in answer.json()] == ["application"]


def legacy(target: ApolloTarget, app: str, number: int, **query: str) -> httpx.Response:
    """Poll as the clients before `v2` do."""
    asks = {"appId": app, "cluster": "default", "notificationId": str(number), **query}
    return target.http.get("/notifications", params=asks)


def test_a_legacy_poll_is_answered_when_the_id_differs(target: ApolloTarget, app: str) -> None:
    """C92."""
    target.publish({"k1": "v1"}, app_id=app)
    current = target.newest(app_id=app)
    for number in (-1, current - 1, current + 1000):
        answer = legacy(target, app, number)
        assert answer.json() == {"namespaceName": "application", "notificationId": current}
    answer = legacy(target, app, -1, namespace="application.properties")
    assert answer.json()["namespaceName"] == "application"


def test_a_legacy_poll_that_knows_the_latest_ends_in_304(hasty: ApolloTarget, app: str) -> None:
    """C92."""
    hasty.publish({"k1": "v1"}, app_id=app)
    answer = legacy(hasty, app, hasty.newest(app_id=app))
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_held_legacy_poll_is_woken(
    target: ApolloTarget, app: str, pool: ThreadPoolExecutor
) -> None:
    """C92."""
    target.publish({"k1": "v1"}, app_id=app)
    old, count = target.newest(app_id=app), target.count_held
    poll = pool.submit(legacy, target, app, old)
    if count is not None:
        wait_until(lambda: count() > 0)
    target.publish({"k1": "v2"}, app_id=app)
    assert poll.result(5).json()["notificationId"] > old


def test_a_connection_goes_on_after_304(hasty: ApolloTarget, app: str) -> None:
    hasty.publish({"k1": "v1"}, app_id=app)
    at = hasty.http.base_url
    asks = [
        f"/configs/{app}/default/application?releaseKey={hasty.key(app_id=app)}",
        f"/notifications/v2?appId={app}&cluster=default&notifications="
        + "%5B%7B%22namespaceName%22%3A%22none%22%7D%5D",
        "/health",
    ]
    with socket.create_connection((at.host, at.port or 80), timeout=100) as client:
        answers = []
        for ask in asks:
            client.sendall(f"GET {ask} HTTP/1.1\r\nHost: {at.host}\r\n\r\n".encode())
            answers.append(client.recv(4096))
    assert [answer.split(b"\r\n")[0][9:12] for answer in answers] == [b"304", b"304", b"200"]
    assert all(b"connection: close" not in answer.lower() for answer in answers)
    assert all(answer.endswith(b"\r\n\r\n") for answer in answers[:2])
