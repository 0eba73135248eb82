"""`/configs` of private namespaces: cases C01 to C28, C107 and C108."""

import json
from pathlib import Path

import pytest

from tests.contract.apollo.conftest import started
from tests.contract.apollo.target import BY, USER, ApolloTarget


def test_a_published_namespace_is_answered(target: ApolloTarget, app: str) -> None:
    """C01."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = target.config(app_id=app)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body.pop("releaseKey")
    assert body == {
        "appId": app,
        "cluster": "default",
        "namespaceName": "application",
        "configurations": {"k1": "v1"},
    }


def test_the_answer_is_compact_and_in_apollos_order(target: ApolloTarget, app: str) -> None:
    """C01."""
    target.publish({"k1": "v1", "k2": "ä"}, app_id=app)
    answer = target.config(app_id=app)
    key = answer.json()["releaseKey"]
    assert answer.text == (
        f'{{"appId":"{app}","cluster":"default","namespaceName":"application",'
        f'"configurations":{{"k1":"v1","k2":"ä"}},"releaseKey":"{key}"}}'
    )


def test_the_namespace_is_found_in_any_case_and_echoed(target: ApolloTarget, app: str) -> None:
    """C02."""
    target.publish({"k1": "v1"}, app_id=app)
    body = target.config("APPLICATION", app_id=app.upper()).json()
    assert body["releaseKey"] == target.key(app_id=app)
    assert (body["appId"], body["namespaceName"]) == (app.upper(), "APPLICATION")


@pytest.mark.parametrize("suffix", [".properties", ".PROPERTIES"])
def test_the_suffix_properties_is_ignored_and_echoed(
    target: ApolloTarget, app: str, suffix: str
) -> None:
    """C03."""
    target.publish({"k1": "v1"}, app_id=app)
    body = target.config(f"application{suffix}", app_id=app).json()
    assert body["releaseKey"] == target.key(app_id=app)
    assert body["namespaceName"] == f"application{suffix}"


def test_the_suffix_is_stripped_once(target: ApolloTarget, app: str) -> None:
    """C04."""
    target.publish({"k1": "v1"}, app_id=app)
    assert target.config("application.properties.properties", app_id=app).status_code == 404


def test_a_cluster_of_its_own_is_answered(target: ApolloTarget, app: str) -> None:
    """C05."""
    target.publish({"k2": "v2"}, "someNamespace", app_id=app, cluster="someCluster")
    body = target.config("someNamespace", app_id=app, cluster="someCluster").json()
    assert (body["cluster"], body["configurations"]) == ("someCluster", {"k2": "v2"})


def test_an_unknown_cluster_falls_back_to_default(target: ApolloTarget, app: str) -> None:
    """C06."""
    target.publish({"k1": "v1"}, app_id=app)
    body = target.config(app_id=app, cluster="noSuchCluster").json()
    assert (body["cluster"], body["releaseKey"]) == ("default", target.key(app_id=app))


def test_an_unknown_cluster_falls_back_to_the_data_center_first(
    target: ApolloTarget, app: str
) -> None:
    """C07."""
    target.publish({"k1": "v1"}, app_id=app)
    target.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = target.config(app_id=app, cluster="noSuchCluster", dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someDC", {"k1": "dc"})


def test_the_cluster_comes_before_the_data_center(target: ApolloTarget, app: str) -> None:
    """C08."""
    target.publish({"k1": "cluster"}, app_id=app, cluster="someCluster")
    target.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = target.config(app_id=app, cluster="someCluster", dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someCluster", {"k1": "cluster"})


def test_the_data_center_comes_before_the_default_cluster(target: ApolloTarget, app: str) -> None:
    """C09."""
    target.publish({"k1": "v1"}, app_id=app)
    target.publish({"k1": "dc"}, app_id=app, cluster="someDC")
    body = target.config(app_id=app, dataCenter="someDC").json()
    assert (body["cluster"], body["configurations"]) == ("someDC", {"k1": "dc"})


def test_an_unknown_data_center_changes_nothing(target: ApolloTarget, app: str) -> None:
    """C10."""
    target.publish({"k1": "v1"}, app_id=app)
    assert target.config(app_id=app, dataCenter="noSuchDC").json()["cluster"] == "default"


def test_a_file_namespace_answers_its_content(target: ApolloTarget, app: str) -> None:
    """C11."""
    target.publish({"content": "<a/>"}, "someNamespace.xml", app_id=app)
    assert target.values("someNamespace.xml", app_id=app) == {"content": "<a/>"}


@pytest.mark.parametrize("suffix", ["json", "yml", "yaml", "txt"])
def test_the_content_of_any_format_arrives_unchanged(
    target: ApolloTarget, app: str, suffix: str
) -> None:
    """C12. Apollo takes as much as this once its limit of 20 000 characters is raised."""
    text = "ä 中 🐝\r\n<&'=>\n" + "x" * 100_000
    if suffix == "json":
        text = json.dumps({"text": text})
    elif suffix != "txt":
        text = f"# {text[-100_000:]}\r\na: 'ä 中 🐝 <&=>'\n"
    name = f"some.{suffix}"
    target.ensure(app, "default", name)
    body = {"key": "content", "value": text, **BY}
    answer = target.write("POST", "/items", body, namespace=name, app_id=app)
    if answer.status_code == 400 and not target.is_ours:
        pytest.skip("the server takes shorter values only")
    target.publish({"content": text}, f"some.{suffix}", app_id=app)
    assert target.values(f"some.{suffix}", app_id=app) == {"content": text}


def test_a_file_namespace_is_not_found_without_its_suffix(target: ApolloTarget, app: str) -> None:
    """C13."""
    target.publish({"content": "<a/>"}, "someNamespace.xml", app_id=app)
    assert target.config("someNamespace", app_id=app).status_code == 404


def test_an_unknown_namespace_is_not_found(target: ApolloTarget, app: str) -> None:
    """C14."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = target.config("nope", app_id=app)
    assert (answer.status_code, answer.json()["status"]) == (404, 404)


def test_an_unknown_app_is_not_found(target: ApolloTarget, app: str) -> None:
    """C15."""
    assert target.config(app_id=app).status_code == 404


def test_a_namespace_never_published_is_not_found(target: ApolloTarget, app: str) -> None:
    """C16."""
    target.set_item("k1", "v1", app_id=app)
    assert target.config(app_id=app).status_code == 404


def test_an_edit_is_invisible_until_it_is_published(target: ApolloTarget, app: str) -> None:
    """C17."""
    target.publish({"k1": "v1"}, app_id=app)
    before = target.config(app_id=app).json()
    target.set_item("k1", "v2", app_id=app)
    target.settle()
    assert target.config(app_id=app).json() == before


def test_a_namespace_published_without_items_is_empty(target: ApolloTarget, app: str) -> None:
    """C18."""
    target.publish({"k1": "v1"}, app_id=app)
    assert target.write("DELETE", "/items/k1", app_id=app, operator=USER).status_code == 200
    target.publish({}, app_id=app)
    answer = target.config(app_id=app)
    assert (answer.status_code, answer.json()["configurations"]) == (200, {})


def test_the_key_in_force_is_answered_with_304_and_nothing(target: ApolloTarget, app: str) -> None:
    """C19."""
    target.publish({"k1": "v1"}, app_id=app)
    answer = target.config(app_id=app, releaseKey=target.key(app_id=app))
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "query",
    ["releaseKey=", "releaseKey=-1", "releaseKey=garbage", "releaseKey=undefined&ip=undefined"],
)
def test_an_unknown_key_is_ignored(target: ApolloTarget, app: str, query: str) -> None:
    """C20."""
    target.publish({"k1": "v1"}, app_id=app)
    assert target.http.get(f"/configs/{app}/default/application?{query}").status_code == 200


def test_an_older_key_is_answered_with_the_whole_new_config(target: ApolloTarget, app: str) -> None:
    """C21."""
    target.publish({"k1": "v1", "k2": "v2"}, app_id=app)
    old = target.key(app_id=app)
    target.publish({"k1": "new"}, app_id=app)
    body = target.config(app_id=app, releaseKey=old).json()
    assert body["configurations"] == {"k1": "new", "k2": "v2"}
    assert not {"configSyncType", "configurationChanges"} & set(body)


def test_publishing_without_a_change_makes_a_new_key(target: ApolloTarget, app: str) -> None:
    """C22."""
    target.publish({"k1": "v1"}, app_id=app)
    old = target.key(app_id=app)
    target.publish({}, app_id=app)
    assert target.config(app_id=app, releaseKey=old).status_code == 200
    assert target.key(app_id=app) != old


def test_values_arrive_as_the_texts_they_were(target: ApolloTarget, app: str) -> None:
    """C23."""
    values = ["", ' " x " ', "1", "true", '{"a":1}', "v" * 20_000, "🐝", "a\nb\r\n\tc", "<&=>'"]
    written = {f"k{n}": value for n, value in enumerate(values)}
    target.publish(written, app_id=app)
    assert target.values(app_id=app) == written


def test_keys_arrive_as_they_were(target: ApolloTarget, app: str) -> None:
    """C24."""
    keys = ["a.b", "a-b", "a b", "a/b", "a\\b", "a=b", "ключ", "a%2Fb", "a+b", "a;b"]
    target.publish(dict.fromkeys(keys, "v"), app_id=app)
    assert list(target.values(app_id=app)) == keys


def test_comments_and_blank_lines_are_not_delivered(target: ApolloTarget, app: str) -> None:
    """C25."""
    target.set_item("k1", "v1", app_id=app)
    comments = [{"key": "", "value": "", "comment": text} for text in ("# a comment", "")]
    at = f"/apps/{app}/clusters/default/namespaces/application"
    for line, comment in enumerate(comments, 2):
        body = {"createItems": [{**comment, "lineNum": line}], "dataChangeLastModifiedBy": USER}
        answer = target.admin.post(f"{at}/itemset", json=body)
        assert answer.status_code == 200, answer.text
    items = target.admin.get(f"{at}/items").json()
    assert [(item["key"], item["comment"]) for item in items] == [
        ("k1", ""),
        ("", "# a comment"),
        ("", ""),
    ]
    target.publish({}, app_id=app)
    assert target.values(app_id=app) == {"k1": "v1"}


def test_the_order_is_the_editors(target: ApolloTarget, app: str) -> None:
    """C26."""
    target.publish({"z": "1", "a": "2", "m": "3"}, app_id=app)
    target.publish({"a": "changed"}, app_id=app)
    assert list(target.values(app_id=app)) == ["z", "a", "m"]


@pytest.mark.parametrize("messages", ["not-json", '{"details":{}}'])
def test_messages_are_ignored(target: ApolloTarget, app: str, messages: str) -> None:
    """C27."""
    target.publish({"k1": "v1"}, app_id=app)
    assert target.config(app_id=app, messages=messages).status_code == 200


def test_unknown_and_odd_parameters_are_ignored(target: ApolloTarget, app: str) -> None:
    """C28."""
    target.publish({"k1": "v1"}, app_id=app)
    url = f"/configs/{app}/default/application?&ip=1.2.3.4&label=&x=1&x=2&&flag"
    assert target.http.get(url).status_code == 200


def test_changes_turn_the_old_configuration_into_the_new_one(
    target: ApolloTarget, app: str
) -> None:
    """C107. Upstream answers in this way to every client, once that is enabled."""
    target.publish({"same": "1", "changed": "old", "gone": "x"}, app_id=app)
    old, known = target.values(app_id=app), target.key(app_id=app)
    target.write("DELETE", "/items/gone", app_id=app, operator=USER)
    target.publish({"changed": "new", "added": "y"}, app_id=app)
    asks = {"app_id": app, "configSyncType": "IncrementalSync"}
    body = target.config(releaseKey=known, **asks).json()
    if body.get("configSyncType") != "IncrementalSync":
        pytest.skip("the server's incremental answers are not enabled")
    assert "configurations" not in body
    assert body["releaseKey"] == target.key(app_id=app)
    for change in body["configurationChanges"]:
        kind = change["configurationChangeType"]
        assert (change["key"] in old) == (kind != "ADDED")
        if kind == "DELETED":
            del old[change["key"]]
        else:
            old[change["key"]] = change["newValue"]
    assert old == target.values(app_id=app)
    assert target.config(releaseKey="garbage", **asks).json()["configurations"] == old
    assert target.config(releaseKey=body["releaseKey"], **asks).status_code == 304


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/configs/{app}/default/application",
        "/configfiles/{app}/default/application",
        "/configfiles/json/{app}/default/application",
        "/notifications/v2",
    ],
)
def test_writing_to_an_endpoint_for_reading_is_refused(
    target: ApolloTarget, app: str, method: str, path: str
) -> None:
    """C108."""
    target.publish({"k1": "v1"}, app_id=app)
    before = target.config(app_id=app).json()
    answer = target.http.request(method, path.format(app=app), headers={"Authorization": "x"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["status"] == answer.status_code
    assert target.config(app_id=app).json() == before


def test_a_path_is_decoded_once(target: ApolloTarget, app: str) -> None:
    target.publish({"k1": "v1"}, app_id=app)
    assert target.http.get(f"/configs/{app}/default/%61pplication").status_code == 200
    assert target.http.get(f"/configs/{app}/default/%2561pplication").status_code == 404


@pytest.mark.parametrize("name", ["x'; DROP TABLE item; --", 'x" OR 1=1', "x%", "*", "a" * 65])
def test_names_that_are_none_are_unknown_to_readers(
    target: ApolloTarget, app: str, name: str
) -> None:
    target.publish({"k1": "v1"}, app_id=app)
    assert target.config(name, app_id=app).status_code == 404
    assert target.config(app_id=app).status_code == 200


def test_a_restart_keeps_releases_and_keys(own: Path, app: str) -> None:
    seen: list[tuple[object, int]] = []
    for _ in range(2):
        with started(own) as target:
            if not seen:
                target.publish({"k": "v"}, app_id=app)
            seen.append((target.config(app_id=app).json(), target.newest(app_id=app)))
    assert seen[0] == seen[1]
