"""Fixtures for pytest: put `pytest_plugins = ["skep.testing.fixtures"]` into a conftest.py.

Each gives a function that opens a lab for the plugins it is called with:

    def test_a_receipt_is_sent(manual_lab):
        async def test():
            async with manual_lab(plugin) as lab: ...

        asyncio.run(test())
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from skep.testing.manual import ManualLab, inline, manual
from skep.testing.real import RealLab, real


@pytest.fixture
def manual_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[ManualLab]]:
    """Open a lab in which deliveries wait until `drain` or `advance`."""
    monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
    return manual


@pytest.fixture
def inline_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[ManualLab]]:
    """Open a lab in which deliveries run at once."""
    monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
    return inline


@pytest.fixture
def real_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractAsyncContextManager[RealLab]]:
    """Open a lab with a real store in a directory of the test's own."""
    monkeypatch.setenv("PLATFORM_DATA_DIR", str(tmp_path))
    return partial(real, directory=tmp_path)
