"""The servers under test: ours, or any Apollo-compatible one with `--url`."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from skep.configserver.model.limits import EditorLimits
from tests.configserver import running_config_server
from tests.contract.apollo.target import ApolloTarget

LIMITS = EditorLimits(value=200_000)


@pytest.fixture(scope="session")
def target(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApolloTarget]:
    """The server under test; ours holds polls longer than any test lasts."""
    with ExitStack() as stack:
        yield other(pytestconfig, stack) or stack.enter_context(
            started(tmp_path_factory.mktemp("apollo"), names=["config.example"], limits=LIMITS)
        )


@pytest.fixture(scope="session")
def hasty(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApolloTarget]:
    """A server that holds polls for as short as the protocol allows, if it is ours."""
    with ExitStack() as stack:
        yield other(pytestconfig, stack) or stack.enter_context(
            started(tmp_path_factory.mktemp("hasty"), hold=1)
        )


@pytest.fixture
def own(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """A directory for a server of ours; the test is about it and skipped for another."""
    if pytestconfig.getoption("--url", None):
        pytest.skip("it looks inside the server, and this one is another's")
    return tmp_path


@pytest.fixture
def app() -> str:
    """An app id of the test's own: the servers are shared."""
    return f"app-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def public(app: str) -> str:
    """The name of a public namespace of the test's own: those are unique over all apps."""
    return f"public{app[-16:]}"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@contextmanager
def started(directory: Path, **more: Any) -> Iterator[ApolloTarget]:
    """Start a server of ours over the files in a directory."""
    with running_config_server(directory, **more) as running, ExitStack() as stack:
        writer = stack.enter_context(client(running.url, running.token))
        count = running.watchers
        yield ApolloTarget(running.http, writer, writer, count_held=lambda: count.held)


def other(config: pytest.Config, stack: ExitStack) -> ApolloTarget | None:
    """Return the server that the command line names, if it names one."""
    url = config.getoption("--url", None)
    if not url:
        return None
    token = config.getoption("--token")
    urls = [config.getoption(option) or url for option in ("--open-api-url", "--admin-url")]
    open_api, admin = (stack.enter_context(client(one, token)) for one in urls)
    return ApolloTarget(
        stack.enter_context(client(url)), open_api, admin, delay=config.getoption("--delay")
    )


def client(url: str, token: str = "") -> httpx.Client:
    """Return a client that waits longer than the longest hold."""
    headers = {"Authorization": token} if token else {}
    return httpx.Client(base_url=url, timeout=100, trust_env=False, headers=headers)
