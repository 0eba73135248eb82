"""Every engine there is, for those tests of the contract that ask for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.drivers import DRIVERS, SERVERS, Driver, Server


@pytest.fixture(params=DRIVERS, ids=lambda cls: cls.__name__)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """Each driver in turn."""
    with request.param.running(tmp_path) as driver:
        yield driver


@pytest.fixture(params=SERVERS, ids=lambda cls: cls.__name__)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Each driver that has a server of its own in turn."""
    with request.param.running(tmp_path) as server:
        yield server
