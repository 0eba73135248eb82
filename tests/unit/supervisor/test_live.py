"""A change that needs no new worker."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skep.base.errors import ConfigError
from skep.config.options import Options
from skep.supervisor.configuration import Configuration
from skep.supervisor.gate import Request
from skep.supervisor.generation import Generation
from skep.supervisor.live import Endings, LiveChange, LiveChanges
from skep.wire.plan import Plan


def generation() -> Generation:
    """A generation without workers: everybody has taken a change at once."""
    nobody = SimpleNamespace(children=())
    crew = SimpleNamespace(children={})
    made = SimpleNamespace(
        zygote=nobody, crew=crew, configuration=configuration(number="1"), plan=Plan()
    )
    return cast(Generation, made)


def configuration(**environment: str) -> Configuration:
    return Configuration(None, environment, Options(), "digest", {}, {})


@pytest.mark.parametrize(
    ("error", "text"), [(ConfigError("it is full"), "it is full"), (OSError(), "OSError()")]
)
def test_b1_a_change_that_cannot_be_written_is_refused_and_the_next_can_begin(
    error: Exception, text: str
) -> None:
    ended: list[Any] = []

    def commit(configuration: Configuration) -> None:
        if not ended:
            raise error

    def refused(change: LiveChange, problem: Any) -> None:
        ended.append(str(problem))

    async def main() -> None:
        endings = Endings(ended.append, lambda change, objection: None, refused)
        changes = LiveChanges(commit, endings)
        for number in ("2", "3"):
            changes.begin(Request("config"), generation(), configuration(number=number))
            await changes._task
            assert not changes.busy

    asyncio.run(main())
    assert ended[0] == text
    assert isinstance(ended[1], LiveChange)
