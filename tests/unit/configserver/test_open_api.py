"""The Open API over a real socket, beyond the conformance cases."""

import asyncio
import re
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.routing import Route

from skep.configserver.application import create_app
from skep.configserver.http.documents import moment
from skep.configserver.model.names import Address
from skep.configserver.storage.database import ConfigDatabase
from skep.configserver.storage.namespaces import find
from tests.configserver import RunningConfigServer, running_config_server

BY = {"dataChangeCreatedBy": "ann", "dataChangeLastModifiedBy": "ann"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path) as running:
        yield running


def put(server: RunningConfigServer, key: str, value: Any, **more: Any) -> Any:
    body = {"key": key, "value": value, **BY, **more}
    return server.write("PUT", f"/items/{key}", body, createIfNotExists="true")


def guarded_routes(tmp_path: Path) -> list[tuple[str, str]]:
    """Return every route of the app that is not for clients, from the app itself."""
    app = create_app(ConfigDatabase(tmp_path / "none.db"), "token")
    clients = ("/configs", "/configfiles", "/notifications", "/services", "/health", "/metrics")
    routes = [route for route in app.routes if isinstance(route, Route)]
    return [
        (method, route.path_format)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
        if not route.path.startswith(clients)
    ]


def names_in(path: str, given: str) -> str:
    """Return the path with a value for each of its parameters; `given` is a number."""
    return re.sub(r"\{(\w+)\}", lambda found: given if found[1].endswith("_id") else "aw", path)


@pytest.mark.parametrize("given", [None, "", "wrong", "Bearer {}", "{}x"])
def test_without_a_token_only_what_is_published_is_read(
    server: RunningConfigServer, tmp_path: Path, given: str | None
) -> None:
    server.open_api.set_item("1", "aw", "aw", "aw", "a draft", "ann")
    headers = {} if given is None else {"Authorization": given.format(server.token)}
    refused, answered = 0, set()
    for method, path in guarded_routes(tmp_path):
        url = names_in(path, "1")
        answer = server.http.request(method, url, headers=headers, json={"key": "k", **BY})
        if answer.status_code == 401:
            assert "configserver/token" in answer.json()["message"]
            refused += 1
        else:
            answered.add(path)
        assert server.token not in answer.text
        assert "a draft" not in answer.text
    assert refused > 60
    assert (
        answered == set()
        if given
        else {
            "/apps/{app_id}/clusters",
            "/apps/{app_id}/clusters/{cluster}/namespaces",
            "/apps/{app_id}/clusters/{cluster}/namespaces/{namespace}/releases/latest",
        }
    )


def test_a_namespace_is_shown_as_apollo_shows_it(server: RunningConfigServer) -> None:
    put(server, "timeout", "100", comment="in seconds", type=1)
    body = server.write("GET", "", namespace="APPLICATION").json()
    (item,) = body.pop("items")
    assert body == {
        "appId": "someAppId",
        "clusterName": "default",
        "namespaceName": "application",
        "comment": "",
        "format": "properties",
        "isPublic": False,
    }
    assert item.pop("dataChangeCreatedTime") == item.pop("dataChangeLastModifiedTime")
    assert item == {"key": "timeout", "type": 1, "value": "100", "comment": "in seconds", **BY}
    put(server, "content", "x: 1", comment=None)
    assert server.write("GET", "/items/content").json()["comment"] == ""


def test_times_are_written_as_apollo_writes_them() -> None:
    assert moment(1718382698588) == "2024-06-14T16:31:38.588+0000"
    assert moment(0) == "1970-01-01T00:00:00.000+0000"


def test_items_come_in_pages(server: RunningConfigServer) -> None:
    for n in range(5):
        put(server, f"k{n}", "v")
    body = server.write("GET", "/items", page="1", size="2").json()
    assert [item["key"] for item in body.pop("content")] == ["k2", "k3"]
    assert body == {"page": 1, "size": 2, "total": 5}
    for wrong in ({"page": "-1"}, {"size": "0"}, {"size": "9999"}, {"page": "x"}, {"page": "²"}):
        answer = server.write("GET", "/items", **wrong)
        assert (answer.status_code, next(iter(wrong)) in answer.json()["message"]) == (400, True)


def test_an_item_is_created_once(server: RunningConfigServer) -> None:
    body = {"key": "k", "value": "v", "dataChangeCreatedBy": "ann"}
    answer = server.write("POST", "/items", body)
    assert (answer.status_code, answer.json()["value"]) == (200, "v")
    again = server.write("POST", "/items", body)
    assert (again.status_code, "'k'" in again.json()["message"]) == (400, True)


def test_what_does_not_exist_is_named(server: RunningConfigServer) -> None:
    assert server.write("GET", "").status_code == 404
    put(server, "other", "v")
    for method in ("GET", "DELETE"):
        answer = server.write(method, "/items/k", operator="ann")
        assert (answer.status_code, "'k'" in answer.json()["message"]) == (404, True)
    assert server.write("DELETE", "/items/other").status_code == 400, "nobody says who deletes"


def test_numbers_and_booleans_are_taken_as_their_text(server: RunningConfigServer) -> None:
    for key, value in (("a", 100), ("b", True), ("c", 1.5)):
        assert put(server, key, value).status_code == 200
    items = server.write("GET", "").json()["items"]
    assert [item["value"] for item in items] == ["100", "true", "1.5"]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("value", None),
        ("value", ["a"]),
        ("comment", "c" * 1025),
        ("comment", {}),
        ("type", 4),
        ("type", "x"),
        ("type", []),
        ("dataChangeCreatedBy", " "),
        ("dataChangeLastModifiedBy", "a" * 65),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    server: RunningConfigServer, field: str, wrong: object
) -> None:
    body = {"key": "k", "value": "v", **BY, field: wrong}
    answer = server.write("PUT", "/items/k", body, createIfNotExists="true")
    assert (answer.status_code, f"`{field}`" in answer.json()["message"]) == (400, True)


def test_a_value_may_be_as_long_as_apollo_s_and_no_longer(server: RunningConfigServer) -> None:
    assert put(server, "k", "🐝" * 20_000).status_code == 200
    refused = put(server, "k", "v" * 1_000_000)
    assert refused.status_code == 400
    assert "1000000 characters; 20000 are allowed" in refused.json()["message"]
    assert put(server, "k" * 129, "v").status_code == 400
    assert server.write("GET", "/items/k").json()["value"] == "🐝" * 20_000


def test_a_body_that_no_item_needs_is_not_even_read(server: RunningConfigServer) -> None:
    refused = put(server, "k", "v" * 5_000_000)
    assert refused.status_code == 413
    assert "larger than" in refused.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(server: RunningConfigServer, body: bytes) -> None:
    url = "/openapi/v1/envs/DEV/apps/a/clusters/c/namespaces/n/releases"
    answer = server.http.post(url, content=body, headers={"Authorization": server.token})
    assert (answer.status_code, "JSON" in answer.json()["message"]) == (400, True)


def test_a_release_is_answered_as_apollo_answers_it(server: RunningConfigServer) -> None:
    assert server.write("GET", "/releases/latest").content == b""
    put(server, "k", "v")
    body = {"releaseTitle": "one", "releaseComment": "why", "releasedBy": "ann", "x": 1}
    release = server.write("POST", "/releases", body).json()
    assert server.write("GET", "/releases/latest").json() == release
    assert release.pop("id") > 0
    assert release.pop("dataChangeCreatedTime") == release.pop("dataChangeLastModifiedTime")
    assert release == {
        "appId": "someAppId",
        "clusterName": "default",
        "namespaceName": "application",
        "name": "one",
        "configurations": {"k": "v"},
        "comment": "why",
        **BY,
    }


@pytest.mark.parametrize("missing", ["releaseTitle", "releasedBy"])
def test_a_release_needs_a_title_and_somebody(server: RunningConfigServer, missing: str) -> None:
    body = {"releaseTitle": "one", "releasedBy": "ann"}
    del body[missing]
    answer = server.write("POST", "/releases", body)
    assert (answer.status_code, missing in answer.json()["message"]) == (400, True)


def test_two_publishers_at_once_lose_nothing(server: RunningConfigServer) -> None:
    def write(publisher: int) -> list[int]:
        return [server.publish({f"k{publisher}": str(n)}).id for n in range(20)]

    with ThreadPoolExecutor(2) as pool:
        ids = [number for numbers in pool.map(write, range(2)) for number in numbers]
    assert len(set(ids)) == 40
    assert server.config().json()["configurations"] == {"k0": "19", "k1": "19"}


def test_a_write_that_waits_for_the_disk_holds_nobody_up(tmp_path: Path) -> None:
    with running_config_server(tmp_path) as server, ThreadPoolExecutor(1) as pool:
        server.publish({"k": "old"})
        # Given a disk that is busy: another process in the middle of its transaction
        busy = sqlite3.connect(tmp_path / "config.db", isolation_level=None)
        busy.execute("BEGIN IMMEDIATE")
        # When somebody writes
        waiting = pool.submit(server.publish, {"k": "new"})
        # Then everybody else is answered meanwhile
        for _ in range(20):
            assert server.config().json()["configurations"] == {"k": "old"}
        assert not waiting.done()
        busy.execute("ROLLBACK")
        busy.close()
        waiting.result(10)
        assert server.config().json()["configurations"] == {"k": "new"}


def test_a_restart_keeps_releases_token_and_ids(tmp_path: Path) -> None:
    seen: list[tuple[str, Any, Any]] = []
    for _ in range(2):
        with running_config_server(tmp_path, namespaces=["application"]) as server:
            if not seen:
                server.publish({"k": "v"})
            config, news = server.config().json(), server.poll({"application": -1}).json()
            seen.append((server.token, config, news))
    assert seen[0] == seen[1]
    assert seen[0][1]["configurations"] == {"k": "v"}


def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(
    server: RunningConfigServer, caplog: pytest.LogCaptureFixture
) -> None:
    at = urlsplit(server.url)
    path = "/openapi/v1/envs/DEV/apps/a/clusters/c/namespaces/n/items"
    with socket.create_connection((str(at.hostname), at.port or 0)) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {server.token}\r\n"
        client.sendall(f'{head}Content-Length: 99\r\n\r\n{{"key":'.encode())
    assert server.http.get("/health").json() == {"status": "UP"}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    async def write(database: ConfigDatabase, value: str) -> httpx.Response:
        transport = httpx.ASGITransport(create_app(database, "token"))
        headers = {"Authorization": "token"}
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            return await client.put(
                "http://x/openapi/v1/envs/DEV/apps/a/clusters/c/namespaces/n/items/k",
                params={"createIfNotExists": "true"},
                json={"key": "k", "value": value, **BY},
            )

    with ConfigDatabase(tmp_path / "config.db") as database:
        # SQLite's own limit of its file's size fails in the way a full disk does.
        (pages,) = database._writer.execute("PRAGMA page_count").fetchone()
        database._writer.execute(f"PRAGMA max_page_count = {pages}")
        refused = asyncio.run(write(database, "v" * 20_000))
        assert (refused.status_code, "is full" in refused.json()["message"]) == (500, True)
        assert find(database.reader, Address("a", "c", "n")) is None
        assert asyncio.run(write(database, "v")).status_code == 200
