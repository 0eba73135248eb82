"""A platform for each test, with the sample plugins or with those a test writes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform_process import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform without plugins or samples, not started; it is stopped in the end."""
    made = Platform(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def sampled(platform: Platform) -> Platform:
    """The same with the sample plugins and the sample configuration."""
    return platform.add_samples()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The same as `platform`, for those tests of a module that leave it as they found it."""
    made = Platform(tmp_path_factory.mktemp("shared"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared_sampled(shared: Platform) -> Platform:
    """The same as `sampled`, started, for all tests of a module."""
    return shared.add_samples().start()
