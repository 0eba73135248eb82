"""The API of clients over a real socket: what is ours alone, beyond the conformance cases."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.configserver import RunningConfigServer, asked, running_config_server

APP = "someAppId"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path_factory.mktemp("server")) as running:
        running.publish({"k1": "v1"})
        yield running


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
    server: RunningConfigServer, notifications: str
) -> None:
    answer = server.poll(notifications)
    assert answer.status_code == 400
    assert "invalid notifications format" in answer.json()["message"]


@pytest.mark.parametrize("missing", ["appId", "cluster", "notifications"])
def test_the_missing_parameter_of_a_poll_is_named(
    server: RunningConfigServer, missing: str
) -> None:
    query = {"appId": APP, "cluster": "default", "notifications": asked({"application": -1})}
    del query[missing]
    answer = server.http.get("/notifications/v2", params=query)
    assert answer.status_code == 400
    assert missing.replace("appId", "app id") in answer.json()["message"]


@pytest.mark.parametrize("number", ["x", "1.5", "9" * 30, "²", "--1"])
def test_the_id_of_a_legacy_poll_is_a_number(server: RunningConfigServer, number: str) -> None:
    query = {"appId": APP, "cluster": "default", "notificationId": number}
    answer = server.http.get("/notifications", params=query)
    assert (answer.status_code, "notificationId" in answer.json()["message"]) == (400, True)


def test_what_is_not_found_or_not_legal_is_named(server: RunningConfigServer) -> None:
    answer = server.config("nope")
    assert (answer.status_code, "'nope'" in answer.json()["message"]) == (404, True)
    for app_id in ("someAppId%20", "s%C3%B6me", "%27%3B--"):
        answer = server.http.get(f"/configs/{app_id}/default/application")
        assert (answer.status_code, "app id" in answer.json()["message"]) == (400, True)


def test_values_and_keys_arrive_byte_by_byte(server: RunningConfigServer) -> None:
    values = {"nul": "a\0b", ".": "1", "..": "2", "K": "3", "k": "4"}
    server.publish(values, "odd")
    assert server.config("odd").json()["configurations"] == values


@pytest.mark.parametrize("name", ["x'; DROP TABLE item; --", 'x" OR 1=1', "x%", "*", "", "a" * 65])
def test_names_that_are_none_are_refused_by_writers_and_unknown_to_readers(
    server: RunningConfigServer, name: str
) -> None:
    quoted = httpx.URL("http://x/").copy_with(path=f"/{name}").raw_path.decode()[1:]
    quoted = quoted.replace("'", "%27")
    answer = server.http.get(f"/configs/{APP}/default/{quoted}")
    assert answer.status_code == 404
    body = {"releaseTitle": "t", "releasedBy": "t"}
    answer = server.write("POST", "/releases", body, namespace=quoted)
    assert answer.status_code == (400 if name else 404)
    assert server.config().status_code == 200


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
def test_the_bad_field_of_an_item_is_named(
    server: RunningConfigServer, body: dict[str, str], culprit: str
) -> None:
    if body:
        body = {"dataChangeCreatedBy": "t", "dataChangeLastModifiedBy": "t", **body}
    answer = server.write("PUT", "/items/k1", body, namespace="new", createIfNotExists="true")
    assert (answer.status_code, culprit in answer.json()["message"]) == (400, True)
    assert server.write("GET", "", namespace="new").status_code == 404, "nothing may be made"


def test_an_item_is_updated_only_if_it_exists(server: RunningConfigServer) -> None:
    body = {"key": "gone", "value": "v1", "dataChangeLastModifiedBy": "ann"}
    assert server.write("PUT", "/items/gone", body).status_code == 404
    assert server.write("GET", "/encodedItems/%25").status_code == 400


def test_a_changed_item_keeps_who_created_it(server: RunningConfigServer) -> None:
    for name in ("ann", "bob"):
        by = {"dataChangeCreatedBy": name, "dataChangeLastModifiedBy": name}
        body = {"key": "whose", "value": name, **by}
        put = server.write("PUT", "/items/whose", body, createIfNotExists="true")
        assert put.status_code == 200
    item = server.write("GET", "/items/whose").json()
    assert (item["dataChangeCreatedBy"], item["dataChangeLastModifiedBy"]) == ("ann", "bob")


@pytest.mark.parametrize("value", ["<script>alert(1)</script>", "'; DROP TABLE item; --"])
def test_html_and_sql_are_text_in_every_field(server: RunningConfigServer, value: str) -> None:
    by = {"dataChangeCreatedBy": value, "dataChangeLastModifiedBy": value}
    body = {"key": value, "value": value, "comment": value, **by}
    namespace = "texts"
    assert server.write("POST", "/items", body, namespace=namespace).status_code in (200, 400)
    release = {"releaseTitle": value, "releaseComment": value, "releasedBy": value}
    answer = server.write("POST", "/releases", release, namespace=namespace)
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["name"], answer.json()["configurations"][value]) == (value, value)
