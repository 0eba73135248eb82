"""The dry run of a publish: which items it would release, and the verdict."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.cli.config.unpublished import draft_of, judged
from skep.config.apollo.openapi import OpenApiClient
from tests.configserver import RunningConfigServer, running_config_server

CLUSTERS = ("blue", "default")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path, app_id="shop") as running:
        yield running


@pytest.mark.parametrize(
    ("actions", "refused", "verdict"),
    [
        ([], False, "nothing"),
        (["live", "unused"], False, "live"),
        (["restart"], False, "restart"),
        (["restart", "live"], False, "live"),
        (["unused", "rollout", "restart"], False, "rollout"),
        (["rollout"], True, "refused"),
        ([], True, "refused"),
    ],
)
def test_the_verdict_is_that_of_the_heaviest_change(
    actions: list[str], refused: bool, verdict: str
) -> None:
    assert judged(actions, refused=refused) == verdict


def draft(server: OpenApiClient) -> object:
    return draft_of(server, "shop", CLUSTERS, "db")


def test_a_draft_is_what_differs_from_the_release(server: RunningConfigServer) -> None:
    api = server.open_api
    assert draft(api) is None
    api.set_item("shop", "default", "db", "HOST", "a", "ann")
    assert draft(api) == ("default", {"HOST": "a"})
    api.publish("shop", "default", "db", "t", "ann")
    assert draft(api) is None
    api.delete_item("shop", "default", "db", "HOST", "ann")
    assert draft(api) == ("default", {})


def test_the_platform_s_own_cluster_comes_first(server: RunningConfigServer) -> None:
    api = server.open_api
    server.publish({"HOST": "a"}, "db", app_id="shop")
    api.set_item("shop", "default", "db", "HOST", "b", "ann")
    api.set_item("shop", "blue", "db", "HOST", "blue", "ann")
    assert draft(api) == ("blue", {"HOST": "blue"})
    api.publish("shop", "blue", "db", "t", "ann")
    # Clients of blue get no release of the default cluster any more
    assert draft(api) is None


def test_the_rules_of_the_namespace_are_asked_for(server: RunningConfigServer) -> None:
    server.open_api.set_item("shop", "default", "db", "HOST", "a", "ann")
    assert server.open_api.release_faults("shop", "default", "db") == []
    rules = {"required": ["PORT"]}
    assert server.write("PUT", "/policy", rules, app_id="shop", namespace="db").is_success
    (fault,) = server.open_api.release_faults("shop", "default", "db")
    assert "'PORT' is missing" in fault
    # As a server that knows no rules
    assert server.open_api.release_faults("shop", "default", "unknown") == []
