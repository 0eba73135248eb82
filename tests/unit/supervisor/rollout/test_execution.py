"""What is done for a rollout."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from skep.supervisor.config.configuration import Configurations
from skep.supervisor.processes.events import Events
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout import machine as pure
from skep.supervisor.rollout.execution import Execution
from skep.supervisor.rollout.machine import RolloutPhase


class _Crew:
    """Stands for workers that are prepared as soon as they are ordered."""

    def fill(self, *_: object) -> None:
        """Nothing to do."""

    def keep(self, *_: object) -> None:
        """Nothing to do."""


class _Disk(Configurations):
    def __init__(self) -> None:
        """It has no files."""

    def commit(self, configuration: object) -> None:
        raise RuntimeError("can't start new thread")


async def _bind(_: object) -> None:
    pass


def test_a_rollout_whose_commit_fails_in_an_unforeseen_way_ends() -> None:
    async def test() -> None:
        refused = asyncio.Event()
        limits = SimpleNamespace(go=1.0)
        options = SimpleNamespace(boot_timeout=1.0)
        configuration = SimpleNamespace(options=options)
        generation: Any = SimpleNamespace(
            configuration=configuration,
            limits=limits,
            crew=_Crew(),
            number=1,
            request=RolloutRequest("config"),
        )
        listeners: Any = SimpleNamespace(bind=_bind, part=lambda old, then: then())
        coming = Execution(
            generation,
            None,
            listeners,
            _Disk(),
            Events(),
            finished=lambda coming: pytest.fail("it was committed"),
            refused=lambda coming: refused.set(),
        )
        coming.feed(pure.PlanReady(("web.0",)))
        coming.feed(pure.SlotPrepared("web.0"))
        assert coming.rollout.phase is RolloutPhase.COMMITTING
        async with asyncio.timeout(25):
            await refused.wait()
        (problem,) = coming.rollout.problems
        assert (problem.stage, problem.message) == ("commit", "can't start new thread")

    asyncio.run(test())
