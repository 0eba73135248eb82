"""How a request is answered: each way, and what wins over what."""

import pytest

from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.decision import Decision, can_be_live, choose, fingerprint
from skep.wire.plan import Plan, Problem
from tests.unit.supervisor.fakes import configuration, generation, run

PLAN = Plan(live=("SOFT",), fixed=("HARD",), code="code-1")
OLD = {"SOFT": "1", "HARD": "1"}
SOFT, HARD = OLD | {"SOFT": "2"}, OLD | {"HARD": "2"}
PROBLEMS = (Problem("config", "it is denied"),)


@pytest.mark.parametrize(
    ("request_", "values", "way"),
    [
        (RolloutRequest("config"), OLD, Decision.UNCHANGED),
        (RolloutRequest("code", code="code-1"), OLD, Decision.UNCHANGED),
        (RolloutRequest("code", code="code-2"), OLD, Decision.ROLLOUT),
        (RolloutRequest("config"), SOFT, Decision.LIVE),
        (RolloutRequest("config", code="code-1"), SOFT, Decision.LIVE),
        (RolloutRequest("config", code="code-2"), SOFT, Decision.ROLLOUT),
        (RolloutRequest("config"), OLD | {"UNREAD": "1"}, Decision.LIVE),
        (RolloutRequest("config"), HARD, Decision.ROLLOUT),
        (RolloutRequest("config"), SOFT | HARD, Decision.ROLLOUT),
        (RolloutRequest("config"), OLD | {"PLATFORM_PORT": "1"}, Decision.ROLLOUT),
        # Forced: although nothing has changed, or the workers could take it
        (RolloutRequest("cli", forced=True), OLD, Decision.ROLLOUT),
        (RolloutRequest("cli", forced=True), SOFT, Decision.ROLLOUT),
        # Problems are an answer, except for a rollback: it bears those of what it replaces
        (RolloutRequest("code", code="code-2", problems=PROBLEMS), OLD, Decision.REFUSED),
        (RolloutRequest("cli", problems=PROBLEMS, forced=True), OLD, Decision.REFUSED),
        (RolloutRequest("rollback", problems=PROBLEMS, forced=True), OLD, Decision.ROLLOUT),
    ],
)
def test_a_request_is_answered_by_what_differs_from_the_generation_in_service(
    request_: RolloutRequest, values: dict[str, str], way: Decision
) -> None:
    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        assert choose(request_, configuration(values), current, frozenset()) is way

    run(test)


def test_without_a_generation_in_service_there_has_to_be_one() -> None:
    request = RolloutRequest("start")
    known = {fingerprint(request, configuration(OLD))}
    assert choose(request, configuration(OLD), None, known) is Decision.ROLLOUT


@pytest.mark.parametrize(
    ("request_", "way"),
    [
        (RolloutRequest("config"), Decision.NOTHING),
        (
            RolloutRequest("code", code="code-2"),
            Decision.ROLLOUT,
        ),  # the same values with other code
        (RolloutRequest("cli", forced=True), Decision.ROLLOUT),
    ],
)
def test_what_was_refused_is_not_tried_again_unless_it_is_forced(
    request_: RolloutRequest, way: Decision
) -> None:
    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        refused = {fingerprint(RolloutRequest("config"), configuration(HARD))}
        assert choose(request_, configuration(HARD), current, refused) is way
        other = configuration(HARD | {"MORE": "1"})
        assert choose(request_, other, current, refused) is Decision.ROLLOUT

    run(test)


def test_what_the_workers_can_take_is_tried_although_it_was_refused() -> None:
    """Then it was because of the disk, or of what it was refused with."""

    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        refused = {fingerprint(RolloutRequest("config"), configuration(SOFT))}
        assert (
            choose(RolloutRequest("config"), configuration(SOFT), current, refused) is Decision.LIVE
        )

    run(test)


@pytest.mark.parametrize(
    ("request_", "plan", "values", "is_so"),
    [
        (RolloutRequest("config"), PLAN, SOFT, True),
        (RolloutRequest("config"), PLAN, HARD, False),
        (RolloutRequest("cli", forced=True), PLAN, SOFT, False),
        (RolloutRequest("code", code="code-2"), PLAN, SOFT, False),
        (RolloutRequest("config"), None, SOFT, False),  # nobody knows yet what its plugins read
    ],
)
def test_workers_may_take_what_they_have_the_code_for(
    request_: RolloutRequest, plan: Plan | None, values: dict[str, str], is_so: bool
) -> None:
    async def test() -> None:
        current = generation(settings=configuration(OLD))
        current.zygote.plan = plan
        assert can_be_live(current, configuration(values), request_) is is_so

    run(test)
