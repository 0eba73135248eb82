"""One config server for the clients that a process of tests starts."""

import uuid
from collections.abc import Iterator

import pytest

from tests.configserver import RunningConfigServer, running_config_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConfigServer]:
    """A server that holds polls longer than any test lasts."""
    with running_config_server(tmp_path_factory.mktemp("configserver")) as running:
        yield running


@pytest.fixture
def app() -> str:
    """An app id of the test's own: the server is shared."""
    return f"app-{uuid.uuid4().hex[:16]}"
