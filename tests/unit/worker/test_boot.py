"""Each worker draws random numbers of its own."""

import random
import sys
from types import ModuleType

import pytest

from skep.worker.boot import reseed


def test_the_generators_that_are_known_are_seeded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[str] = []
    numpy_random = ModuleType("numpy.random")
    numpy_random.seed = lambda: seeded.append("numpy")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numpy.random", numpy_random)
    random.seed(1)
    before = random.getstate()
    reseed()
    assert random.getstate() != before
    assert seeded == ["numpy"]
