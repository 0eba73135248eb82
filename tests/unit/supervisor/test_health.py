"""What is refused now: a candidate, or the newest release of some namespace."""

from typing import Any

from skep.supervisor.generation import about
from skep.supervisor.health import Outcomes
from skep.supervisor.request import Outcome, Report
from skep.wire.plan import Problem


def report(outcome: Outcome, text: str = "", cause: str = "config") -> Report:
    problems = (Problem("load", text),) if text else ()
    return Report(outcome, 1, cause, "", 0.0, problems=problems)


def refuse(outcomes: Outcomes, *namespaces: str, key: str = "K2") -> int:
    """Let the agent report that it refuses these; report what is new. Return how many are."""
    following = [
        {"namespace": n, "trouble": f"{n} is denied", "reason": "denied", "refused": key}
        for n in namespaces
    ]
    outcomes.refusals.follow({"following": following})
    new = outcomes.refusals.take()
    for request in new:
        outcomes.refuse(about(request, "refused", None, request.problems, 0.0, 0.0))
    return len(new)


def problems(outcomes: Outcomes) -> list[str]:
    return [p.message for p in outcomes.refused.problems] if outcomes.refused else []


def test_a_refused_release_is_reported_once_and_stands_until_a_newer_one_is_good() -> None:
    """B1."""
    outcomes = Outcomes()
    assert [refuse(outcomes, "a") for _ in range(3)] == [1, 0, 0]
    assert refuse(outcomes, "a", key="K3") == 1
    assert problems(outcomes) == ["a is denied"]
    outcomes.take(report("committed"), None)  # of another namespace
    assert problems(outcomes) == ["a is denied"]
    refuse(outcomes)
    assert outcomes.refused is None
    assert refuse(outcomes, "a", key="K3") == 1


def test_a_refused_candidate_and_a_refused_release_are_both_shown() -> None:
    """B1."""
    outcomes = Outcomes()
    refuse(outcomes, "a")
    outcomes.take(report("refused", "it does not load"), None)
    assert problems(outcomes) == ["it does not load", "a is denied"]
    outcomes.take(report("unchanged"), None)
    assert problems(outcomes) == ["a is denied"]


def test_the_newest_refusal_is_the_last_rollout() -> None:
    outcomes = Outcomes()
    outcomes.take(report("committed"), None)
    refuse(outcomes, "a")
    assert outcomes.last is not None
    assert (outcomes.last.outcome, outcomes.last.reason) == ("refused", "release a K2")


def test_a_release_whose_refusal_has_not_been_reported_yet_is_not_shown_without_its_report() -> (
    None
):
    outcomes = Outcomes()
    entry: dict[str, Any] = {"namespace": "a", "trouble": "x", "reason": "denied", "refused": "K"}
    outcomes.refusals.follow({"following": [entry]})
    assert outcomes.refused is None


def test_why_a_start_had_to_fall_back_is_what_is_refused() -> None:
    outcomes = Outcomes()
    outcomes.take(report("committed", cause="start"), report("refused", "it crashed"))
    assert problems(outcomes) == ["it crashed"]


def test_what_was_rolled_back_is_refused_until_something_else_is_committed() -> None:
    outcomes = Outcomes()
    outcomes.take(report("rolled back", "it did not hold"), None)
    assert problems(outcomes) == ["it did not hold"]
    outcomes.take(report("committed"), None)
    assert outcomes.refused is None
