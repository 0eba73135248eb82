"""What is tried when the first generation fails and there is none to go back to."""

from typing import cast

import pytest

from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.request import Report, RolloutRequest
from skep.supervisor.rollout.fallback import Fallback
from skep.wire.plan import Problem


class Held:
    """A history that knows one snapshot that held; `asked` are the requests for it."""

    def __init__(self, path: str = "held.json") -> None:
        self.path = path
        self.asked: list[RolloutRequest] = []
        self.fallback_ = Fallback(cast(ConfigHistory, self), self.asked.append)

    def fallback(self, request: RolloutRequest) -> str:
        return self.path


def refused(stage: str) -> Report:
    return Report("refused", 0, "start", "", 0.0, problems=(Problem(stage, "it is broken"),))


@pytest.mark.parametrize(
    ("stage", "is_tried"), [("load", True), ("prepare", True), ("listen", False), ("commit", False)]
)
def test_the_snapshot_that_held_last_is_tried_where_the_configuration_may_be_at_fault(
    stage: str, is_tried: bool
) -> None:
    held = Held()
    assert held.fallback_.refusal(RolloutRequest("start"), refused(stage)) is is_tried
    assert [request.snapshot for request in held.asked] == ["held.json"] * is_tried


def test_it_is_tried_once_and_only_if_there_is_one() -> None:
    held = Held()
    assert held.fallback_.refusal(RolloutRequest("start"), refused("load"))
    assert not held.fallback_.refusal(RolloutRequest("start"), refused("load"))
    assert held.fallback_.refused is not None
    assert not Held("").fallback_.refusal(RolloutRequest("start"), refused("load"))


def test_a_first_generation_that_does_not_hold_is_rolled_back_to_it() -> None:
    held = Held()
    held.fallback_.unheld(RolloutRequest("start"), "its web workers ended 3 times")
    [request] = held.asked
    assert (request.cause, request.snapshot, request.forced) == ("rollback", "held.json", True)
    text = "The first generation does not hold: its web workers ended 3 times."
    assert [problem.message for problem in request.problems] == [text]
