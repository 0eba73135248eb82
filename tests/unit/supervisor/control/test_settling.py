"""Waiting for what becomes of a release that has just been published."""

import asyncio

import pytest

from skep.supervisor.control.server import CommandRefused
from skep.supervisor.control.settling import Facts, ReleaseSettling, settled

OLD = {"a": "A1"}
NEW = {"a": "A2"}


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (Facts(in_force=OLD, offered=OLD), None),
        (Facts(in_force=OLD, offered=NEW), None),
        (Facts(in_force=NEW, offered=NEW, generation=7), "applied"),
        (Facts(in_force=OLD, refused={"a": ("A2", "it is denied")}), "refused"),
        (Facts(in_force=OLD, refused={"a": ("A1", "it was denied before")}), None),
        (Facts(in_force=NEW, refused={"a": ("A2", "of the other namespace")}), "applied"),
        (Facts(in_force=OLD, withheld=NEW, pinned=3), "withheld"),
        (Facts(in_force=OLD, withheld=NEW), None),
        (Facts(in_force=OLD, drained=True), "waiting"),
        (Facts(in_force=OLD, offered={"a": "A3"}), "overtaken"),
    ],
)
def test_an_outcome_is_known_when_the_release_is_in_force_refused_or_overtaken(
    facts: Facts, outcome: str | None
) -> None:
    found = settled("a", "A2", "A1", facts)
    assert (found.outcome if found else None) == outcome


def test_who_waits_is_answered_when_it_is_known_and_when_the_platform_stops() -> None:
    async def main() -> None:
        facts = Facts(in_force=OLD, offered=OLD)
        settling = ReleaseSettling(lambda: facts)
        question = {"namespace": "a", "release_key": "A2"}
        waiting = [asyncio.ensure_future(settling.wait(question)) for _ in range(2)]
        await asyncio.sleep(0)
        settling.look()
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        facts = Facts(in_force=NEW, generation=2)
        settling.look()
        answers = await asyncio.gather(*waiting)
        assert answers[0] == {"outcome": "applied", "sentence": "Generation 2 has it."}
        facts = Facts(in_force=OLD, refused={"a": ("A2", "it is denied")})
        with pytest.raises(CommandRefused, match="it is denied"):
            await settling.wait(question)
        facts = Facts(in_force=OLD)
        last = asyncio.ensure_future(settling.wait(question))
        await asyncio.sleep(0)
        settling.look(stopping=True)
        with pytest.raises(CommandRefused, match="stopping"):
            await last

    asyncio.run(main())
