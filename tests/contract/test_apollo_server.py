"""The conformance cases of an Apollo config service, by their numbers, over real sockets.

They know the server by its URL and its Open API alone, with two exceptions: `held` looks inside to
know that a poll is held, and C12, C25, C88, C89 and C90 are about what lies inside.
"""

import json
import resource
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from skep.configserver.records import EditorLimits
from tests.configserver import RunningConfigServer, asked, running_config_server
from tests.support import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    """A server that holds polls longer than any test lasts."""
    directory = tmp_path_factory.mktemp("server")
    with running_config_server(directory, names=["config.example"]) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    """A server that holds polls for as short as the protocol allows."""
    with running_config_server(tmp_path_factory.mktemp("hasty"), hold=1) as running:
        yield running


@pytest.fixture
def app() -> str:
    """An app id of the test's own: the servers are shared."""
    return f"app-{uuid.uuid4().hex}"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def key_of(server: RunningConfigServer, app: str, cluster: str = "default") -> str:
    key: str = server.config(app_id=app, cluster=cluster).json()["releaseKey"]
    return key


def id_of(server: RunningConfigServer, app: str, namespace: str = "application") -> int:
    number: int = server.poll({namespace: -1}, app_id=app).json()[0]["notificationId"]
    return number


def held(
    server: RunningConfigServer,
    pool: ThreadPoolExecutor,
    ids: dict[str, int],
    app: str,
    **query: str,
) -> Future[httpx.Response]:
    """Begin a poll and return when the server holds it."""
    before = server.watchers.held
    poll = pool.submit(server.poll, ids, app_id=app, **query)
    wait_until(lambda: server.watchers.held > before or poll.done())
    assert not poll.done(), poll.result().text
    return poll


# Config query


def test_a_published_namespace_is_answered(server: RunningConfigServer, app: str) -> None:
    """C01."""
    server.publish({"k1": "v1"}, app_id=app)
    answer = server.config(app_id=app)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["content-length"] == str(len(answer.content))
    body = answer.json()
    assert body.pop("releaseKey")
    assert body == {
        "appId": app,
        "cluster": "default",
        "namespaceName": "application",
        "configurations": {"k1": "v1"},
    }


def test_the_namespace_is_found_in_any_case_and_echoed(
    server: RunningConfigServer, app: str
) -> None:
    """C02."""
    server.publish({"k1": "v1"}, app_id=app)
    body = server.config("APPLICATION", app_id=app.upper()).json()
    assert body["releaseKey"] == key_of(server, app)
    assert (body["appId"], body["namespaceName"]) == (app.upper(), "APPLICATION")


@pytest.mark.parametrize("suffix", [".properties", ".PROPERTIES"])
def test_the_suffix_properties_is_ignored_and_echoed(
    server: RunningConfigServer, app: str, suffix: str
) -> None:
    """C03."""
    server.publish({"k1": "v1"}, app_id=app)
    body = server.config(f"application{suffix}", app_id=app).json()
    assert body["releaseKey"] == key_of(server, app)
    assert body["namespaceName"] == f"application{suffix}"


def test_the_suffix_is_stripped_once(server: RunningConfigServer, app: str) -> None:
    """C04."""
    server.publish({"k1": "v1"}, app_id=app)
    assert server.config("application.properties.properties", app_id=app).status_code == 404


def test_a_cluster_of_its_own_is_answered(server: RunningConfigServer, app: str) -> None:
    """C05."""
    server.publish({"k2": "v2"}, "someNamespace", app_id=app, cluster="someCluster")
    body = server.config("someNamespace", app_id=app, cluster="someCluster").json()
    assert (body["cluster"], body["configurations"]) == ("someCluster", {"k2": "v2"})


def test_an_unknown_cluster_falls_back_to_default(server: RunningConfigServer, app: str) -> None:
    """C06."""
    server.publish({"k1": "v1"}, app_id=app)
    body = server.config(app_id=app, cluster="noSuchCluster").json()
    assert (body["cluster"], body["releaseKey"]) == ("default", key_of(server, app))


def test_an_unknown_cluster_falls_back_to_the_data_center_first(
    server: RunningConfigServer, app: str
) -> None:
    """C07."""
    server.publish({"k1": "v1"}, app_id=app)
    server.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = server.config(app_id=app, cluster="noSuchCluster", dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someDC", {"k1": "dc"})


def test_the_cluster_comes_before_the_data_center(server: RunningConfigServer, app: str) -> None:
    """C08."""
    server.publish({"k1": "cluster"}, app_id=app, cluster="someCluster")
    server.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = server.config(app_id=app, cluster="someCluster", dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someCluster", {"k1": "cluster"})


def test_the_data_center_comes_before_the_default_cluster(
    server: RunningConfigServer, app: str
) -> None:
    """C09."""
    server.publish({"k1": "v1"}, app_id=app)
    server.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = server.config(app_id=app, dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someDC", {"k1": "dc"})


def test_an_unknown_data_center_changes_nothing(server: RunningConfigServer, app: str) -> None:
    """C10."""
    server.publish({"k1": "v1"}, app_id=app)
    assert server.config(app_id=app, dataCenter="noSuchDC").json()["cluster"] == "default"


def test_a_file_namespace_answers_its_content(server: RunningConfigServer, app: str) -> None:
    """C11."""
    server.publish({"content": "<a/>"}, "someNamespace.xml", app_id=app)
    body = server.config("someNamespace.xml", app_id=app).json()
    assert body["configurations"] == {"content": "<a/>"}


def test_the_content_of_any_format_arrives_unchanged(tmp_path: Path, app: str) -> None:
    """C12."""
    text = "a: 'ä 中 🐝'\r\nb: <&=>\n" + "x" * 100_000
    with running_config_server(tmp_path, limits=EditorLimits(value=200_000)) as server:
        for suffix in ("json", "yml", "yaml", "txt"):
            server.publish({"content": text}, f"some.{suffix}", app_id=app)
            body = server.config(f"some.{suffix}", app_id=app).json()
            assert body["configurations"]["content"] == text


def test_a_file_namespace_is_not_found_without_its_suffix(
    server: RunningConfigServer, app: str
) -> None:
    """C13."""
    server.publish({"content": "<a/>"}, "someNamespace.xml", app_id=app)
    assert server.config("someNamespace", app_id=app).status_code == 404


def test_an_unknown_namespace_is_not_found_and_named(server: RunningConfigServer, app: str) -> None:
    """C14."""
    server.publish({"k1": "v1"}, app_id=app)
    answer = server.config("nope", app_id=app)
    assert answer.status_code == 404
    assert "'nope'" in answer.json()["message"]


def test_an_unknown_app_is_not_found(server: RunningConfigServer, app: str) -> None:
    """C15."""
    assert server.config(app_id=app).status_code == 404


def test_a_namespace_never_published_is_not_found(server: RunningConfigServer, app: str) -> None:
    """C16."""
    server.open_api.set_item(app, "default", "application", "k1", "v1", "tester")
    assert server.config(app_id=app).status_code == 404


def test_an_edit_is_invisible_until_it_is_published(server: RunningConfigServer, app: str) -> None:
    """C17."""
    server.publish({"k1": "v1"}, app_id=app)
    before = server.config(app_id=app).json()
    server.open_api.set_item(app, "default", "application", "k1", "v2", "tester")
    assert server.config(app_id=app).json() == before


def test_a_namespace_published_without_items_is_empty(
    server: RunningConfigServer, app: str
) -> None:
    """C18."""
    server.publish({"k1": "v1"}, app_id=app)
    assert server.write("DELETE", "/items/k1", app_id=app, operator="t").status_code == 200
    server.publish({}, app_id=app)
    answer = server.config(app_id=app)
    assert (answer.status_code, answer.json()["configurations"]) == (200, {})


def test_the_key_in_force_is_answered_with_304_and_nothing(
    server: RunningConfigServer, app: str
) -> None:
    """C19."""
    server.publish({"k1": "v1"}, app_id=app)
    answer = server.config(app_id=app, releaseKey=key_of(server, app))
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "query",
    ["releaseKey=", "releaseKey=-1", "releaseKey=garbage", "releaseKey=undefined&ip=undefined"],
)
def test_a_key_that_is_none_is_ignored(server: RunningConfigServer, app: str, query: str) -> None:
    """C20."""
    server.publish({"k1": "v1"}, app_id=app)
    assert server.http.get(f"/configs/{app}/default/application?{query}").status_code == 200


def test_an_older_key_is_answered_with_the_whole_new_config(
    server: RunningConfigServer, app: str
) -> None:
    """C21."""
    server.publish({"k1": "v1", "k2": "v2"}, app_id=app)
    old = key_of(server, app)
    server.publish({"k1": "new"}, app_id=app)
    body = server.config(app_id=app, releaseKey=old).json()
    assert body["configurations"] == {"k1": "new", "k2": "v2"}
    assert not {"configSyncType", "configurationChanges"} & set(body)


def test_publishing_without_a_change_makes_a_new_key(server: RunningConfigServer, app: str) -> None:
    """C22."""
    server.publish({"k1": "v1"}, app_id=app)
    old = key_of(server, app)
    server.publish({}, app_id=app)
    assert server.config(app_id=app, releaseKey=old).status_code == 200
    assert key_of(server, app) != old


def test_values_arrive_as_the_texts_they_were(server: RunningConfigServer, app: str) -> None:
    """C23."""
    values = ["", ' " x " ', "1", "true", '{"a":1}', "v" * 20_000, "🐝", "a\nb\r\n\tc\0", "<&=>'"]
    written = {f"k{n}": value for n, value in enumerate(values)}
    server.publish(written, app_id=app)
    assert server.config(app_id=app).json()["configurations"] == written


def test_keys_arrive_as_they_were(server: RunningConfigServer, app: str) -> None:
    """C24."""
    keys = ["a.b", "a-b", "a b", "a/b", "a\\b", "a=b", "ключ", "a%2Fb", "a+b", ".", "..", "K", "k"]
    server.publish(dict.fromkeys(keys, "v"), app_id=app)
    assert list(server.config(app_id=app).json()["configurations"]) == keys


def test_comments_and_blank_lines_are_not_delivered(tmp_path: Path) -> None:
    """C25."""
    folder = tmp_path / "samples" / "someAppId" / "default"
    folder.mkdir(parents=True)
    (folder / "application.properties").write_text("# a comment\n\nk1=v1\n")
    with running_config_server(tmp_path, samples=tmp_path / "samples") as server:
        items = server.write("GET", "").json()["items"]
        assert [(item["key"], item["comment"]) for item in items] == [
            ("", "# a comment"),
            ("", ""),
            ("k1", ""),
        ]
        assert server.config().json()["configurations"] == {"k1": "v1"}


def test_the_order_is_the_editor_s(server: RunningConfigServer, app: str) -> None:
    """C26."""
    server.publish({"z": "1", "a": "2", "m": "3"}, app_id=app)
    server.publish({"a": "changed"}, app_id=app)
    assert list(server.config(app_id=app).json()["configurations"]) == ["z", "a", "m"]


@pytest.mark.parametrize("messages", ["not-json", '{"details":{}}'])
def test_messages_are_ignored(server: RunningConfigServer, app: str, messages: str) -> None:
    """C27."""
    server.publish({"k1": "v1"}, app_id=app)
    assert server.config(app_id=app, messages=messages).status_code == 200


def test_unknown_and_odd_parameters_are_ignored(server: RunningConfigServer, app: str) -> None:
    """C28."""
    server.publish({"k1": "v1"}, app_id=app)
    url = f"/configs/{app}/default/application?&ip=1.2.3.4&label=&x=1&x=2&&flag"
    assert server.http.get(url).status_code == 200


# Writing


@pytest.mark.parametrize(
    ("body", "culprit"),
    [
        ({"value": "v"}, "key"),
        ({"key": "", "value": "v"}, "key"),
        ({"key": "other", "value": "v"}, "other"),
        ({"key": "k1"}, "value"),
        ({"key": "k1", "value": "v", "dataChangeLastModifiedBy": ""}, "dataChangeLastModifiedBy"),
        ({"key": "k1", "value": "v", "dataChangeCreatedBy": None}, "dataChangeCreatedBy"),
        ({"key": "k1", "value": "\ud800"}, "value"),
        ([], "object"),
    ],
)
def test_an_item_with_a_bad_field_is_refused_and_the_field_is_named(
    server: RunningConfigServer, app: str, body: dict[str, str], culprit: str
) -> None:
    """C57."""
    if body:
        body = {"dataChangeCreatedBy": "t", "dataChangeLastModifiedBy": "t", **body}
    answer = server.write("PUT", "/items/k1", body, app_id=app, createIfNotExists="true")
    assert (answer.status_code, culprit in answer.json()["message"]) == (400, True)
    assert server.write("GET", "", app_id=app).status_code == 404, "nothing may have been made"


def test_an_item_is_created_and_updated(server: RunningConfigServer, app: str) -> None:
    """C58."""
    body = {"key": "k1", "value": "v1", "dataChangeLastModifiedBy": "ann"}
    assert server.write("PUT", "/items/k1", body, app_id=app).status_code == 404
    body |= {"dataChangeCreatedBy": "ann"}
    put = server.write("PUT", "/items/k1", body, app_id=app, createIfNotExists="true")
    assert put.status_code == 200
    body |= {"value": "v2", "dataChangeCreatedBy": "bob", "dataChangeLastModifiedBy": "bob"}
    put = server.write("PUT", "/items/k1", body, app_id=app, createIfNotExists="true")
    assert put.status_code == 200
    item = server.write("GET", "/items/k1", app_id=app).json()
    assert (item["value"], item["dataChangeCreatedBy"]) == ("v2", "ann")
    assert item["dataChangeLastModifiedBy"] == "bob"


@pytest.mark.parametrize("encoded", ["YS9iPz8_", "YS9iPz8%2F", "YS9iPz8/"])
def test_a_key_with_a_slash_goes_round_in_base64(
    server: RunningConfigServer, app: str, encoded: str
) -> None:
    """C59."""
    server.open_api.set_item(app, "default", "application", "a/b???", "v", "tester")
    item = server.write("GET", f"/encodedItems/{encoded}", app_id=app).json()
    assert (item["key"], item["value"]) == ("a/b???", "v")
    assert server.write("GET", "/encodedItems/%25", app_id=app).status_code == 400


# Notifications


def test_the_first_poll_is_answered_at_once(server: RunningConfigServer, app: str) -> None:
    """C69."""
    server.publish({"k1": "v1"}, app_id=app)
    (entry,) = server.poll({"application": -1}, app_id=app).json()
    number = entry["notificationId"]
    assert number > 0
    assert entry == {
        "namespaceName": "application",
        "notificationId": number,
        "messages": {"details": {f"{app}+default+application": number}},
    }


def test_a_poll_that_knows_the_latest_ends_in_304(hasty: RunningConfigServer, app: str) -> None:
    """C70."""
    hasty.publish({"k1": "v1"}, app_id=app)
    answer = hasty.poll({"application": id_of(hasty, app)}, app_id=app)
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_held_poll_is_woken_by_a_release(
    server: RunningConfigServer, app: str, pool: ThreadPoolExecutor
) -> None:
    """C71."""
    server.publish({"k1": "v1"}, app_id=app)
    server.publish({"k1": "v1"}, "other", app_id=app)
    old = id_of(server, app)
    # Given a poll that watches two namespaces
    poll = held(server, pool, {"application": old, "other": id_of(server, app, "other")}, app)
    # When one of them is published
    server.publish({"k1": "v2"}, app_id=app)
    # Then it alone is told
    (entry,) = poll.result(5).json()
    assert entry["namespaceName"] == "application"
    assert entry["notificationId"] > old
    key = f"{app}+default+application"
    assert entry["messages"] == {"details": {key: entry["notificationId"]}}


def test_a_poll_with_an_older_id_is_answered_at_once(server: RunningConfigServer, app: str) -> None:
    """C72."""
    server.publish({"k1": "v1"}, app_id=app)
    current = id_of(server, app)
    answer = server.poll({"application": current - 1}, app_id=app)
    assert answer.json()[0]["notificationId"] == current


def test_a_poll_from_the_future_is_held_but_woken(
    server: RunningConfigServer, app: str, pool: ThreadPoolExecutor
) -> None:
    """C73."""
    server.publish({"k1": "v1"}, app_id=app)
    poll = held(server, pool, {"application": id_of(server, app) + 1000}, app)
    server.publish({"k1": "v2"}, app_id=app)
    assert poll.result(5).json()[0]["notificationId"] == id_of(server, app)


def test_several_outdated_namespaces_come_together(server: RunningConfigServer, app: str) -> None:
    """C74."""
    server.publish({"k1": "v1"}, "one", app_id=app)
    server.publish({"k1": "v1"}, "two", app_id=app)
    entries = server.poll({"one": -1, "two": 0}, app_id=app).json()
    assert [(e["namespaceName"], list(e["messages"]["details"])) for e in entries] == [
        ("one", [f"{app}+default+one"]),
        ("two", [f"{app}+default+two"]),
    ]


def test_only_what_is_outdated_is_told(server: RunningConfigServer, app: str) -> None:
    """C75."""
    server.publish({"k1": "v1"}, "one", app_id=app)
    server.publish({"k1": "v1"}, "two", app_id=app)
    entries = server.poll({"one": id_of(server, app, "one"), "two": -1}, app_id=app).json()
    assert [entry["namespaceName"] for entry in entries] == ["two"]


def test_the_client_s_spelling_is_echoed_and_the_key_is_canonical(
    server: RunningConfigServer, app: str
) -> None:
    """C76."""
    server.publish({"k1": "v1"}, app_id=app)
    (entry,) = server.poll({"APPLICATION": -1}, app_id=app.upper(), cluster="Default").json()
    assert entry["namespaceName"] == "APPLICATION"
    assert list(entry["messages"]["details"]) == [f"{app}+default+application"]


def test_the_suffix_properties_is_not_echoed(server: RunningConfigServer, app: str) -> None:
    """C77."""
    server.publish({"k1": "v1"}, app_id=app)
    (entry,) = server.poll({"application.properties": -1}, app_id=app).json()
    assert entry["namespaceName"] == "application"


@pytest.mark.parametrize("old_first", [True, False])
def test_of_two_spellings_the_older_id_counts(
    server: RunningConfigServer, app: str, old_first: bool
) -> None:
    """C78."""
    server.publish({"k1": "v1"}, app_id=app)
    current = id_of(server, app)
    ids = [("APPLICATION", current - 1), ("application", current)]
    answer = server.poll(dict(ids if old_first else ids[::-1]), app_id=app)
    assert [entry["namespaceName"] for entry in answer.json()] == ["APPLICATION"]


@pytest.mark.parametrize(
    "notifications",
    [
        *("garbage", "[]", "null", "", "5", "{}", '["application"]', "[null]", "[" * 20_000),
        '[{"namespaceName":""}]',
        '[{"namespaceName":".properties"}]',
        '[{"namespaceName":"\\ud800"}]',
        '[{"namespaceName":["a"]}]',
        '[{"namespaceName":"a","notificationId":"x"}]',
        '[{"namespaceName":"a","notificationId":Infinity}]',
        json.dumps([{"namespaceName": f"n{n}"} for n in range(1001)]),
    ],
    ids=lambda text: text[:30] or "nothing",
)
def test_a_poll_for_nothing_sensible_is_refused(
    server: RunningConfigServer, app: str, notifications: str
) -> None:
    """C79."""
    answer = server.poll(notifications, app_id=app)
    assert answer.status_code == 400
    assert "invalid notifications format" in answer.json()["message"]


@pytest.mark.parametrize("missing", ["appId", "cluster", "notifications"])
def test_a_poll_without_a_parameter_is_refused_and_it_is_named(
    server: RunningConfigServer, app: str, missing: str
) -> None:
    """C80."""
    query = {"appId": app, "cluster": "default", "notifications": asked({"application": -1})}
    del query[missing]
    answer = server.http.get("/notifications/v2", params=query)
    assert answer.status_code == 400
    assert missing.replace("appId", "app id") in answer.json()["message"]


def test_a_poll_for_the_unknown_is_held_then_304(hasty: RunningConfigServer, app: str) -> None:
    """C81."""
    hasty.open_api.set_item(app, "default", "drafted", "k1", "v1", "tester")
    assert hasty.poll({"unknown": -1, "drafted": -1}, app_id=app).status_code == 304


def test_a_client_is_woken_by_its_clusters_alone(
    server: RunningConfigServer, app: str, pool: ThreadPoolExecutor
) -> None:
    """C83."""
    # Given a client in cluster A with a data center
    poll = held(server, pool, {"application": -1}, app, cluster="A", dataCenter="dc")
    # When another cluster is published, and then the default one
    server.publish({"k1": "v1"}, app_id=app, cluster="B")
    server.publish({"k1": "v1"}, app_id=app)
    # Then it is the default one that the client hears of
    (entry,) = poll.result(5).json()
    assert list(entry["messages"]["details"]) == [f"{app}+default+application"]
    # And of all its clusters at once when it asks from the beginning
    server.publish({"k1": "v1"}, app_id=app, cluster="A")
    server.publish({"k1": "v1"}, app_id=app, cluster="dc")
    news = server.poll({"application": -1}, app_id=app, cluster="A", dataCenter="dc").json()
    details = news[0]["messages"]["details"]
    assert sorted(details) == [f"{app}+{c}+application" for c in ("A", "dc", "default")]
    assert news[0]["notificationId"] == max(details.values())


def test_a_release_before_the_poll_is_not_lost(server: RunningConfigServer, app: str) -> None:
    """C84."""
    server.publish({"k1": "v1"}, app_id=app)
    old = id_of(server, app)
    server.config(app_id=app)
    server.publish({"k1": "v2"}, app_id=app)
    assert server.poll({"application": old}, app_id=app).json()[0]["notificationId"] > old


def test_a_release_in_the_very_moment_of_the_poll_is_not_lost(
    server: RunningConfigServer, app: str, pool: ThreadPoolExecutor
) -> None:
    """C84."""
    server.publish({"k1": "v1"}, app_id=app)
    seen = id_of(server, app)
    for _ in range(100):
        poll = pool.submit(server.poll, {"application": seen}, app_id=app)
        server.open_api.publish(app, "default", "application", "t", "t")
        # A lost one would be held for 50 s.
        number = poll.result(10).json()[0]["notificationId"]
        assert number > seen
        seen = number


def test_of_fifty_namespaces_the_three_changed_are_told(
    server: RunningConfigServer, app: str
) -> None:
    """C86."""
    names = [f"namespace-{n}" for n in range(50)]
    for name in names:
        server.publish({}, name, app_id=app)
    news = server.poll(dict.fromkeys(names, -1), app_id=app).json()
    ids = {entry["namespaceName"]: entry["notificationId"] for entry in news}
    assert list(ids) == names
    for name in names[3:6]:
        server.publish({}, name, app_id=app)
    assert [entry["namespaceName"] for entry in server.poll(ids, app_id=app).json()] == names[3:6]


def test_each_of_two_clients_gets_its_own_spelling(
    server: RunningConfigServer, app: str, pool: ThreadPoolExecutor
) -> None:
    """C87."""
    polls = [held(server, pool, {name: -1}, app) for name in ("application", "APPLICATION")]
    server.publish({"k1": "v1"}, app_id=app)
    names = [poll.result(5).json()[0]["namespaceName"] for poll in polls]
    assert names == ["application", "APPLICATION"]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def begin_poll(server: RunningConfigServer, app: str) -> socket.socket:
    """Send a poll on a connection of its own, without a thread to wait for its answer."""
    query = urlencode(
        {"appId": app, "cluster": "default", "notifications": asked({"application": -1})}
    )
    at = urlsplit(server.url)
    client = socket.create_connection((str(at.hostname), at.port or 0), timeout=10)
    client.sendall(f"GET /notifications/v2?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


@pytest.mark.usefixtures("many_descriptors")
def test_five_hundred_held_polls_are_woken_by_one_release(
    server: RunningConfigServer, app: str
) -> None:
    """C88."""
    clients = [begin_poll(server, app) for _ in range(500)]
    wait_until(lambda: server.watchers.held == 500)
    server.publish({"k1": "v1"}, app_id=app)
    assert server.config(app_id=app).status_code == 200
    for client in clients:
        with client:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.watchers.held == 0


def test_a_thousand_clients_that_leave_are_forgotten(server: RunningConfigServer, app: str) -> None:
    """C89."""
    for _ in range(10):
        clients = [begin_poll(server, app) for _ in range(100)]
        wait_until(lambda: server.watchers.held == 100)
        for client in clients:
            client.close()
        wait_until(lambda: server.watchers.held == 0)


def test_ids_rise_over_apps_and_restarts(tmp_path: Path) -> None:
    """C90."""
    ids = []
    for _ in range(2):
        with running_config_server(tmp_path) as server:
            for app in ("one", "two", "one"):
                server.publish({"k1": "v1"}, app_id=app)
                ids.append(id_of(server, app))
    assert ids == sorted(set(ids))


def test_odd_parameters_of_a_poll_are_accepted(server: RunningConfigServer, app: str) -> None:
    """C91."""
    server.publish({"k1": "v1"}, app_id=app)
    answer = server.poll(
        '[{"namespaceName":"application","messages":{"x":[]},"extra":1},{"namespaceName":""}]',
        app_id=app,
        **{"ip": "undefined", "label": "", "dataCenter": "", "whatever": "1"},
    )
    assert [entry["namespaceName"] for entry in answer.json()] == ["application"]


# Discovery and the rest


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_config_service_is_where_it_was_asked(
    server: RunningConfigServer, app: str, method: str
) -> None:
    """C93."""
    server.publish({"k1": "v1"}, app_id=app)
    (entry,) = server.http.request(method, "/services/config?appId=x&ip=y").json()
    url = f"{entry['homepageUrl']}configs/{app}/default/application"
    assert server.http.get(url).json()["configurations"] == {"k1": "v1"}
    behind = server.http.get("/services/config", headers={"Host": "config.example:8080"})
    assert behind.json()[0]["homepageUrl"] == "http://config.example:8080/"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/configs/{app}/default/application", "/notifications/v2"])
def test_writing_to_an_endpoint_for_reading_is_refused(
    server: RunningConfigServer, app: str, method: str, path: str
) -> None:
    """C108."""
    server.publish({"k1": "v1"}, app_id=app)
    before = server.config(app_id=app).json()
    answer = server.http.request(method, path.format(app=app), headers={"Authorization": "x"})
    assert (answer.status_code, answer.json()["error"]) == (405, "Method Not Allowed")
    assert server.config(app_id=app).json() == before


def test_authorization_headers_of_an_app_without_keys_are_ignored(
    server: RunningConfigServer, app: str
) -> None:
    server.publish({"k1": "v1"}, app_id=app)
    headers = {"Authorization": f"Apollo {app}:", "Timestamp": "soon"}
    url = f"/configs/{app}/default/application"
    assert server.http.get(url, headers=headers).status_code == 200


def test_a_connection_goes_on_after_304(hasty: RunningConfigServer, app: str) -> None:
    hasty.publish({"k1": "v1"}, app_id=app)
    at = urlsplit(hasty.url)
    asks = [
        f"/configs/{app}/default/application?releaseKey={key_of(hasty, app)}",
        f"/notifications/v2?appId={app}&cluster=default&notifications="
        + "%5B%7B%22namespaceName%22%3A%22none%22%7D%5D",
        "/health",
    ]
    with socket.create_connection((str(at.hostname), at.port or 0), timeout=10) as client:
        answers = []
        for ask in asks:
            client.sendall(f"GET {ask} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answers.append(client.recv(4096))
    assert [answer.split(b"\r\n")[0][9:12] for answer in answers] == [b"304", b"304", b"200"]
    assert all(b"connection: close" not in answer.lower() for answer in answers)
    assert all(answer.endswith(b"\r\n\r\n") for answer in answers[:2])


@pytest.mark.parametrize("name", ["x'; DROP TABLE item; --", 'x" OR 1=1', "x%", "*", "", "a" * 65])
def test_names_that_are_none_are_refused_by_writers_and_unknown_to_readers(
    server: RunningConfigServer, app: str, name: str
) -> None:
    server.publish({"k1": "v1"}, app_id=app)
    quoted = httpx.URL("http://x/").copy_with(path=f"/{name}").raw_path.decode()[1:]
    quoted = quoted.replace("'", "%27")
    answer = server.http.get(f"/configs/{app}/default/{quoted}")
    assert answer.status_code == 404
    body = {"releaseTitle": "t", "releasedBy": "t"}
    answer = server.write("POST", "/releases", body, app_id=app, namespace=quoted)
    assert answer.status_code == (400 if name else 404)
    assert server.config(app_id=app).status_code == 200


def test_an_app_id_that_is_none_is_refused(server: RunningConfigServer) -> None:
    for app_id in ("someAppId%20", "s%C3%B6me", "%27%3B--"):
        answer = server.http.get(f"/configs/{app_id}/default/application")
        assert (answer.status_code, "app id" in answer.json()["message"]) == (400, True)


def test_a_path_is_decoded_once(server: RunningConfigServer, app: str) -> None:
    server.publish({"k1": "v1"}, app_id=app)
    assert server.http.get(f"/configs/{app}/default/%61pplication").status_code == 200
    raw = httpx.URL(f"{server.url}/configs/{app}/default/%2561pplication")
    assert server.http.get(raw).status_code == 404
