"""Clients of other projects read, follow and sign, and survive a restart of the server."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.configserver import RunningConfigServer, running_config_server
from tests.contract.clients.program import CLIENTS, Client, following
from tests.support import free_port, wait_until

SECRET = "5b1e3a0c9d7f4e2a8c6b0d9e7f5a3b1c"
FIRST = {
    "application": {"a": "1", "gone": "yes", "odd": "é <&=> '\"\\ \t日本\n#!:"},
    "mail": {"sender": "ann"},
    "routes.json": {"content": '{"routes": ["/a", "/b&c"]}'},
    "server.yaml": {"content": "server:\n  port: 8080\n"},
}
SECOND = {
    "application": {"a": "2", "new": "", "odd": "plain"},
    "mail": {"sender": "bob"},
    "routes.json": {"content": "[]"},
    "server.yaml": {"content": "server:\n  port: 8081\n"},
}
FLAT = {FIRST["server.yaml"]["content"]: "8080", SECOND["server.yaml"]["content"]: "8081"}

each_client = pytest.mark.parametrize("client", CLIENTS, ids=str)


def require_signatures(server: RunningConfigServer, app: str) -> None:
    """Give the app an access key, so that its requests must be signed."""
    headers, by = {"Authorization": server.token}, {"operator": "tester"}
    url = f"/apps/{app}/accesskeys"
    made = server.http.post(
        url, json={"dataChangeCreatedBy": "tester", "secret": SECRET}, headers=headers
    )
    enabled = server.http.put(f"{url}/{made.json()['id']}/enable", params=by, headers=headers)
    assert enabled.status_code == 200


def shown(client: Client, namespace: str, values: dict[str, str]) -> dict[str, str]:
    """Return what a client shows of a namespace with these values."""
    if client.flattens and namespace.endswith(".yaml"):
        return {"server.port": FLAT[values["content"]]}
    return values


@each_client
def test_a_client_reads_namespaces_of_all_formats_and_follows_their_changes(
    client: Client, server: RunningConfigServer, app: str, tmp_path: Path
) -> None:
    # Given four namespaces, of an app with an access key if the client knows of those
    for namespace, values in FIRST.items():
        server.publish(values, namespace, app_id=app)
    if client.signs:
        require_signatures(server, app)
    wait_until(lambda: server.watchers.held == 0)
    secret = SECRET if client.signs else ""
    with following(client, server.url, app, list(FIRST), secret, tmp_path) as program:
        # Then the client reads them
        for namespace, values in FIRST.items():
            program.await_values(namespace, shown(client, namespace, values))
        # And when all are changed while it polls
        wait_until(lambda: server.watchers.held)
        server.open_api.delete_item(app, "default", "application", "gone", "tester")
        for namespace, values in SECOND.items():
            server.publish(values, namespace, app_id=app)
        # Then it follows
        for namespace, values in SECOND.items():
            program.await_values(namespace, shown(client, namespace, values))


@each_client
def test_a_client_with_another_secret_sees_nothing(
    client: Client, server: RunningConfigServer, app: str, tmp_path: Path
) -> None:
    server.publish({"a": "1"}, app_id=app)
    require_signatures(server, app)
    secret = "another" if client.signs else ""
    with following(client, server.url, app, ["application"], secret, tmp_path) as program:
        program.await_values("application", {})


@each_client
def test_a_client_goes_on_after_a_restart_of_the_server(
    client: Client, app: str, tmp_path: Path
) -> None:
    port, data, own = free_port(), tmp_path / "server", tmp_path / "client"
    own.mkdir()
    data.mkdir()
    with ExitStack() as stack:
        with running_config_server(data, port=port) as server:
            server.publish({"a": "1"}, app_id=app)
            program = stack.enter_context(
                following(client, server.url, app, ["application"], "", own)
            )
            program.await_values("application", {"a": "1"})
            wait_until(lambda: server.watchers.held)
        with running_config_server(data, port=port) as server:
            server.publish({"a": "2"}, app_id=app)
            program.await_values("application", {"a": "2"})
