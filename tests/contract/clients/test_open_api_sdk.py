"""The official Open API SDK for Java writes to our server: each of its calls once."""

import subprocess
from typing import Any

import pytest

from tests.configserver import RunningConfigServer
from tests.contract.clients.builds import JAVA
from tests.contract.clients.program import JVM, environment, lines

ODD = "a/b \\ =&<>é"
COMMENT = "<a comment> & more"


@pytest.fixture(scope="module")
def app() -> str:
    """The app that the SDK makes."""
    return "app-of-the-sdk"


@pytest.fixture(scope="module")
def answers(
    server: RunningConfigServer, app: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What each call was answered."""
    output = tmp_path_factory.mktemp("sdk") / "output"
    with output.open("wb") as stdout:
        done = subprocess.run(
            [*JVM, "Write"],
            cwd=JAVA.directory(),
            env=environment(SERVER=server.url, TOKEN=server.token, APP_ID=app),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["call"]: line.get("answer") for line in lines(output)}


def test_the_sdk_makes_apps_clusters_and_namespaces(app: str, answers: dict[str, Any]) -> None:
    for call in ("getAppsByIds", "getAllApps", "getAuthorizedApps"):
        assert app in [one["appId"] for one in answers[call]]
    assert answers["getAppsByIds"][0]["ownerEmail"] == "apollo@example.com"
    assert answers["createCluster"]["name"] == answers["getCluster"]["name"] == "blue"
    assert answers["getEnvClusterInfo"] == [{"env": "DEV", "clusters": ["blue", "default"]}]
    assert answers["createAppNamespace"]["name"] == "routes.json"


def test_the_sdk_writes_items(answers: dict[str, Any]) -> None:
    assert answers["createItem"]["dataChangeCreatedBy"] == "apollo"
    assert (answers["getItem"]["value"], answers["getItem"]["comment"]) == ("2", f"of {ODD}")
    assert answers["getItem of a missing key"] is None
    assert answers["updateItem of a missing key"] == 404
    page = answers["findItemsByNamespace"]
    assert (page["total"], [item["key"] for item in page["content"]]) == (2, ["a"])
    items = {item["key"]: item["value"] for item in answers["getNamespace"]["items"]}
    assert items == {"a": "3", ODD: "2"}
    assert "items" not in answers["getNamespace without items"]
    names = [namespace["namespaceName"] for namespace in answers["getNamespaces"]]
    assert names == ["application", "routes.json"]
    assert answers["getNamespaceLock"] == {"namespaceName": "application", "isLocked": False}


def test_the_sdk_publishes_and_rolls_back(
    server: RunningConfigServer, app: str, answers: dict[str, Any]
) -> None:
    assert answers["getLatestActiveRelease before"] is None
    first, latest = answers["publishNamespace"], answers["getLatestActiveRelease"]
    assert (first["configurations"], first["comment"]) == ({"a": "3", ODD: "2"}, COMMENT)
    assert (latest["id"], latest["configurations"]) == (first["id"], first["configurations"])
    # And clients get what was rolled back to
    seen = server.config(app_id=app, cluster="blue").json()
    assert seen["configurations"] == first["configurations"]


def test_the_sdk_is_refused_with_another_token(answers: dict[str, Any]) -> None:
    assert answers["getAllApps with another token"] == 401
