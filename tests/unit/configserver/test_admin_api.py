"""The admin API, tokens and conflicts over a real socket, beyond the conformance cases."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.configserver import RunningConfigServer, running_config_server

APP = "someAppId"
AT = f"/apps/{APP}/clusters/default/namespaces/application"
BY = {"dataChangeCreatedBy": "ann", "dataChangeLastModifiedBy": "ann"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def server(running: RunningConfigServer) -> RunningConfigServer:
    """A server on which the namespace has k=v in force, and nothing else."""
    admin(running, "DELETE", AT, operator="ann")
    running.publish({"k": "v"})
    return running


def admin(
    server: RunningConfigServer, method: str, path: str, body: Any = None, **query: Any
) -> httpx.Response:
    """Call the admin API; `token` is another token than the administrator's."""
    headers = {"Authorization": query.pop("token", server.token), **query.pop("headers", {})}
    return server.http.request(method, path, json=body, params=query, headers=headers)


def put(server: RunningConfigServer, value: str, **headers: str) -> httpx.Response:
    url = f"/openapi/v1/envs/DEV{AT}/items/k"
    body = {"key": "k", "value": value, **BY}
    return admin(server, "PUT", url, body, headers=headers)


def test_a_write_with_an_old_revision_is_a_conflict_that_shows_both(
    server: RunningConfigServer,
) -> None:
    read = admin(server, "GET", f"/openapi/v1/envs/DEV{AT}/items/k")
    tag = read.headers["etag"]
    assert put(server, "hers", **{"If-Match": tag}).status_code == 200
    refused = put(server, "his", **{"If-Match": tag})
    body = refused.json()
    assert (refused.status_code, body["error"]) == (409, "Conflict")
    assert (body["yours"]["value"], body["theirs"]["value"]) == ("his", "hers")
    assert admin(server, "GET", f"{AT}/items/k").json()["value"] == "hers"
    assert put(server, "his", **{"If-Match": "soon"}).status_code == 400
    assert put(server, "his", **{"If-Match": "*"}).status_code == 200


def test_a_set_of_items_is_saved_with_the_revisions_it_was_read_with(
    server: RunningConfigServer,
) -> None:
    (item,) = admin(server, "GET", f"{AT}/items").json()
    changes = {"updateItems": [{**item, "value": "2"}], "dataChangeLastModifiedBy": "ann"}
    assert admin(server, "POST", f"{AT}/itemset", changes).status_code == 200
    changes["updateItems"][0]["value"] = "3"  # type: ignore[index]
    refused = admin(server, "POST", f"{AT}/itemset", changes)
    assert (refused.status_code, refused.json()["theirs"]["value"]) == (409, "2")
    assert server.write("GET", "/items/k").json()["value"] == "2"
    assert admin(server, "PUT", f"{AT}/revocation", operator="ann").status_code == 200
    assert server.write("GET", "/items/k").json()["value"] == "v"


def test_what_editors_read_is_there(server: RunningConfigServer) -> None:
    ids = [server.publish({"k": str(n)}).id for n in range(3)]
    server.write("PUT", "/items/k", {"key": "k", "value": "draft", **BY})

    def get(path: str, **query: Any) -> Any:
        return admin(server, "GET", path, **query).json()

    assert APP in [app["appId"] for app in get("/apps")]
    assert get(f"/apps/{APP}")["appId"] == APP
    assert [one["name"] for one in get(f"/apps/{APP}/clusters")] == ["default"]
    assert get(f"/apps/{APP}/clusters/default")["parentClusterId"] == 0
    assert [one["name"] for one in get(f"/apps/{APP}/appnamespaces")] == ["application"]
    names = get(f"/apps/{APP}/clusters/default/namespaces")
    assert [one["namespaceName"] for one in names] == ["application"]
    assert get(f"/apps/{APP}/namespaces/publish_info") == {"default": True}
    assert get(AT)["id"] == names[0]["id"]
    assert get(f"{AT}/items-with-page", size=1)["content"][0]["value"] == "draft"
    assert get(f"{AT}/encodedItems/aw==")["key"] == "k"
    assert get(f"{AT}/releases/latest")["configurations"] == '{"k":"2"}'
    assert [one["id"] for one in get(f"{AT}/releases/all", size=2)] == ids[:0:-1]
    assert len(get(f"{AT}/releases/active", size=10)) == 4
    assert [one["id"] for one in get("/releases", releaseIds=f"{ids[0]},999999")] == ids[:1]
    history = get(f"{AT}/releases/histories", size=2)
    assert (history["total"], [one["releaseId"] for one in history["content"]]) == (4, ids[:0:-1])
    commits = get(f"{AT}/commit", size=100)
    assert commits[0]["changeSets"]["updateItems"][0]["newItem"]["value"] == "draft"
    assert admin(server, "GET", f"{AT}/lock").content == b""
    (item,) = get("/items-search/key-and-value", value="DRAFT")["content"]
    assert (item["appId"], item["key"], item["value"]) == (APP, "k", "draft")
    assert admin(server, "GET", f"{AT}/branches").status_code == 404
    audit = get("/audit", appId=APP, size=3)
    assert [one["action"] for one in audit] == ["items.save", "release.normal", "items.save"]
    assert {(one["actor"], one["origin"]) for one in audit} == {
        ("ann", "127.0.0.1"),
        ("tester", "127.0.0.1"),
    }


@pytest.mark.parametrize(
    "path",
    [f"/apps/{APP}", f"{AT}/items", f"{AT}/releases/all", "/audit", "/releases/1", "/releases/2"],
)
def test_a_bad_page_or_a_missing_thing_is_named(server: RunningConfigServer, path: str) -> None:
    missing = path.replace(APP, "gone").replace("releases/1", "releases/999999")
    missing = missing.replace("releases/2", f"releases/{1 << 70}")
    if missing != path:
        assert admin(server, "GET", missing).status_code == 404
    if path.endswith(("all", "audit")):
        assert "size" in admin(server, "GET", path, size=0).json()["message"]


def test_instances_are_known_by_the_release_they_run(server: RunningConfigServer) -> None:
    first = server.publish({"k": "1"}).id
    server.config(ip="10.0.0.1", dataCenter="dc")
    server.config(ip="10.0.0.2")
    second = server.publish({"k": "2"}).id
    server.config(ip="10.0.0.2", releaseKey="x")
    place = {"appId": APP, "clusterName": "default", "namespaceName": "application"}
    found = admin(server, "GET", "/instances/by-namespace", **place).json()
    assert found["total"] == 2
    assert [
        (one["ip"], one["dataCenter"], one["configs"][0]["release"]["id"])
        for one in found["content"]
    ] == [("10.0.0.1", "dc", first), ("10.0.0.2", "", second)]
    by_release = admin(server, "GET", "/instances/by-release", releaseId=first).json()
    assert [one["ip"] for one in by_release["content"]] == ["10.0.0.1"]
    others = admin(
        server, "GET", "/instances/by-namespace-and-releases-not-in", releaseIds=second, **place
    )
    assert [one["ip"] for one in others.json()] == ["10.0.0.1"]
    assert admin(server, "GET", "/instances/by-namespace/count", **place).json() == 2
    assert server.write("GET", "/instances").json() == 2


def test_a_token_does_what_its_role_allows_until_it_is_revoked(
    server: RunningConfigServer,
) -> None:
    made = admin(server, "POST", "/tokens", {"name": "ci", "roles": {APP: "edit"}, "days": 1})
    token = made.json()["token"]
    url = f"/openapi/v1/envs/DEV{AT}"
    body = {"key": "k", "value": "by ci", **BY}
    assert admin(server, "PUT", f"{url}/items/k", body, token=token).status_code == 200
    release = {"releaseTitle": "t", "releasedBy": "ann"}
    refused = admin(server, "POST", f"{url}/releases", release, token=token)
    assert (refused.status_code, "publish" in refused.json()["message"]) == (403, True)
    other = url.replace(APP, "another")
    assert admin(server, "PUT", f"{other}/items/k", body, token=token).status_code == 403
    for path in (f"/apps/{APP}/accesskeys", "/tokens", "/audit"):
        assert admin(server, "GET", path, token=token).status_code == 403
    (entry,) = admin(server, "GET", "/audit", appId=APP, size=1).json()
    assert (entry["actor"], entry["token"]) == ("ann", "ci")
    assert token not in admin(server, "GET", "/tokens").text
    assert admin(server, "DELETE", "/tokens/ci").status_code == 200
    refused = admin(server, "GET", AT, token=token)
    assert (refused.status_code, "'ci' is revoked" in refused.json()["message"]) == (401, True)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "roles": {"*": "read"}},
        {"name": "x", "roles": {}},
        {"name": "x", "roles": []},
        {"name": "x", "roles": {"*": "admin"}},
        {"name": "x", "roles": {"no app": "read"}},
        {"name": "x", "roles": {"*": "read"}, "days": -1},
        {"name": "x", "roles": {"*": "read"}, "days": True},
    ],
)
def test_a_token_that_makes_no_sense_is_refused(
    server: RunningConfigServer, body: dict[str, Any]
) -> None:
    assert admin(server, "POST", "/tokens", body).status_code == 400


def test_names_are_unique_where_apollo_wants_it(server: RunningConfigServer) -> None:
    app = {"name": "n", "appId": APP, "orgId": "org", "ownerName": "ann"}
    again = admin(server, "POST", "/openapi/v1/apps", {"app": app})
    assert (again.status_code, "already" in again.json()["message"]) == (400, True)
    app["appId"] = "sharing"
    assert admin(server, "POST", "/openapi/v1/apps", {"app": app}).status_code == 200

    def define(name: str, **more: Any) -> httpx.Response:
        url = "/openapi/v1/apps/sharing/appnamespaces"
        return admin(server, "POST", url, {"name": name, **BY, **more})

    public = define("Shared", isPublic=True, format="properties").json()
    assert (public["name"], public["isPublic"]) == ("org.Shared", True)
    assert define("rules", format="json").json()["name"] == "rules.json"
    assert define("rules.json", format="json").status_code == 400, "it is the same"
    assert define("x", format="toml").status_code == 400
    taken = admin(
        server,
        "POST",
        f"/openapi/v1/apps/{APP}/appnamespaces",
        {"name": "ORG.shared", "isPublic": True, "appendNamespacePrefix": False, **BY},
    )
    assert (taken.status_code, "'sharing'" in taken.json()["message"]) == (400, True)
    body = {"namespaceName": "org.Shared", **BY}
    url = f"/apps/{APP}/clusters/default/namespaces"
    assert admin(server, "POST", url, body).status_code == 200
    assert admin(server, "GET", f"{AT[:-11]}org.Shared").json()["namespaceName"] == "org.Shared"
    overriding = "/appnamespaces/org.Shared/associated-namespaces/count"
    assert admin(server, "GET", overriding).json() == 1
    assert admin(server, "POST", url, {"namespaceName": "nope", **BY}).status_code == 404
    for path in ("/openapi/v1/organizations", "/openapi/v1//organizations"):
        found = server.http.get(f"{server.url}{path}", headers={"Authorization": server.token})
        assert found.json() == [{"orgId": "org", "orgName": ""}]
    clusters = admin(server, "GET", "/openapi/v1/apps/sharing/envclusters").json()
    assert clusters == [{"env": "DEV", "clusters": ["default"]}]
    gone = admin(server, "DELETE", "/apps/sharing/appnamespaces/rules.json", operator="ann")
    assert gone.status_code == 200
    shown = admin(server, "GET", "/apps/sharing/appnamespaces").json()
    assert [one["name"] for one in shown] == ["application", "org.Shared"]
