"""A platform for each test, with the sample plugins or with those a test writes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform_process import ROOT, Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform without plugins or samples, not started; it is stopped in the end."""
    made = Platform(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def sampled(platform: Platform) -> Platform:
    """The same with the sample plugins and the sample configuration."""
    shutil.copytree(ROOT / "plugins", platform.plugins, dirs_exist_ok=True)
    shutil.copytree(ROOT / "config-samples", platform.samples, dirs_exist_ok=True)
    return platform
