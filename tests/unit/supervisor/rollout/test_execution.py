"""What is done for a rollout."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from skep.supervisor.rollout import machine as pure
from skep.supervisor.rollout.execution import Coming, Means
from skep.supervisor.rollout.machine import Phase


class _Crew:
    """Stands for workers that are prepared as soon as they are ordered."""

    def fill(self, *_: object) -> None:
        """Nothing to do."""

    def keep(self, *_: object) -> None:
        """Nothing to do."""


def _commit(_: object) -> None:
    raise RuntimeError("can't start new thread")


async def _bind(_: object) -> None:
    pass


def test_a_rollout_whose_commit_fails_in_an_unforeseen_way_ends() -> None:
    async def test() -> None:
        refused = asyncio.Event()
        limits = SimpleNamespace(go=1.0)
        options = SimpleNamespace(boot_timeout=1.0)
        configuration = SimpleNamespace(options=options)
        generation: Any = SimpleNamespace(configuration=configuration, limits=limits, crew=_Crew())
        means = Means(
            bind=_bind,
            commit=_commit,
            part=lambda old, then: then(),
            phased=lambda coming: None,
            finished=lambda coming: pytest.fail("it was committed"),
            refused=lambda coming: refused.set(),
        )
        coming = Coming(generation, None, means)
        coming.feed(pure.Planned(("web.0",)))
        coming.feed(pure.Prepared("web.0"))
        assert coming.rollout.phase is Phase.COMMITTING
        async with asyncio.timeout(25):
            await refused.wait()
        (problem,) = coming.rollout.problems
        assert (problem.stage, problem.message) == ("commit", "can't start new thread")

    asyncio.run(test())
