"""One server with one account for all tests of the portal."""

from collections.abc import Iterator

import pytest

from tests.configserver import RunningConfigServer, running_config_server
from tests.person import Person, make_first_account, signed_in


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    with running_config_server(tmp_path_factory.mktemp("server")) as server:
        make_first_account(server)
        yield server


@pytest.fixture
def ann(server: RunningConfigServer) -> Iterator[Person]:
    """A person who may do everything; the namespace has k=v in force and nothing else."""
    server.http.request(
        "DELETE",
        "/apps/someAppId/clusters/default/namespaces/application?operator=test",
        headers={"Authorization": server.token},
    )
    server.publish({"k": "v"})
    with signed_in(server) as ann:
        yield ann
