"""How a request is answered: each way, and what wins over what."""

import pytest

from skep.supervisor.gate import Request
from skep.supervisor.way import Way, can_be_live, choose, fingerprint
from skep.wire.plan import Plan, Problem
from tests.unit.supervisor.fakes import configuration, generation, run

PLAN = Plan(live=("SOFT",), fixed=("HARD",), code="code-1")
OLD = {"SOFT": "1", "HARD": "1"}
SOFT, HARD = OLD | {"SOFT": "2"}, OLD | {"HARD": "2"}
PROBLEMS = (Problem("config", "it is denied"),)


@pytest.mark.parametrize(
    ("request_", "values", "way"),
    [
        (Request("config"), OLD, Way.UNCHANGED),
        (Request("code", code="code-1"), OLD, Way.UNCHANGED),
        (Request("code", code="code-2"), OLD, Way.ROLLOUT),
        (Request("config"), SOFT, Way.LIVE),
        (Request("config", code="code-1"), SOFT, Way.LIVE),
        (Request("config", code="code-2"), SOFT, Way.ROLLOUT),
        (Request("config"), OLD | {"UNREAD": "1"}, Way.LIVE),
        (Request("config"), HARD, Way.ROLLOUT),
        (Request("config"), SOFT | HARD, Way.ROLLOUT),
        (Request("config"), OLD | {"PLATFORM_PORT": "1"}, Way.ROLLOUT),
        # Forced: although nothing has changed, or the workers could take it
        (Request("cli", forced=True), OLD, Way.ROLLOUT),
        (Request("cli", forced=True), SOFT, Way.ROLLOUT),
        # Problems are an answer, except for a rollback: it bears those of what it replaces
        (Request("code", code="code-2", problems=PROBLEMS), OLD, Way.REFUSED),
        (Request("cli", problems=PROBLEMS, forced=True), OLD, Way.REFUSED),
        (Request("rollback", problems=PROBLEMS, forced=True), OLD, Way.ROLLOUT),
    ],
)
def test_a_request_is_answered_by_what_differs_from_the_generation_in_service(
    request_: Request, values: dict[str, str], way: Way
) -> None:
    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        assert choose(request_, configuration(values), current, frozenset()) is way

    run(test)


def test_without_a_generation_in_service_there_has_to_be_one() -> None:
    request = Request("start")
    known = {fingerprint(request, configuration(OLD))}
    assert choose(request, configuration(OLD), None, known) is Way.ROLLOUT


@pytest.mark.parametrize(
    ("request_", "way"),
    [
        (Request("config"), Way.NOTHING),
        (Request("code", code="code-2"), Way.ROLLOUT),  # the same values with other code
        (Request("cli", forced=True), Way.ROLLOUT),
    ],
)
def test_what_was_refused_is_not_tried_again_unless_it_is_forced(
    request_: Request, way: Way
) -> None:
    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        refused = {fingerprint(Request("config"), configuration(HARD))}
        assert choose(request_, configuration(HARD), current, refused) is way
        other = configuration(HARD | {"MORE": "1"})
        assert choose(request_, other, current, refused) is Way.ROLLOUT

    run(test)


def test_what_the_workers_can_take_is_tried_although_it_was_refused() -> None:
    """Then it was because of the disk, or of what it was refused with."""

    async def test() -> None:
        current = generation(plan=PLAN, settings=configuration(OLD))
        refused = {fingerprint(Request("config"), configuration(SOFT))}
        assert choose(Request("config"), configuration(SOFT), current, refused) is Way.LIVE

    run(test)


@pytest.mark.parametrize(
    ("request_", "plan", "values", "is_so"),
    [
        (Request("config"), PLAN, SOFT, True),
        (Request("config"), PLAN, HARD, False),
        (Request("cli", forced=True), PLAN, SOFT, False),
        (Request("code", code="code-2"), PLAN, SOFT, False),
        (Request("config"), None, SOFT, False),  # nobody knows yet what its plugins read
    ],
)
def test_workers_may_take_what_they_have_the_code_for(
    request_: Request, plan: Plan | None, values: dict[str, str], is_so: bool
) -> None:
    async def test() -> None:
        current = generation(settings=configuration(OLD))
        current.zygote.plan = plan
        assert can_be_live(current, configuration(values), request_) is is_so

    run(test)
