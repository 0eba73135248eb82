"""Every line of the table in `skep.worker.tasks.judge`."""

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from skep.api.tasks.policy import Discard, HandlerTimeout, Policy, Retry
from skep.base.backoff import Backoff
from skep.base.logs import log
from skep.engine.contract import Envelope, Lease
from skep.worker.tasks.judge import (
    CutOff,
    Ending,
    LostTooOften,
    Raised,
    Returned,
    is_suspect,
    judge,
    judge_undecodable,
    judge_unknown,
    outcome,
)
from skep.worker.tasks.steps import InvalidResult, Step

NOW = 1_000_000
ENVELOPE = Envelope("id-1", "orders.Send", b"{}")
NEXT = (Envelope("id-2", "orders.Next", b"{}"),)
FAILED = (Envelope("id-3", "orders.Failed", b"{}"),)


def a_lease(attempt: int = 1, losses: int = 0) -> Lease:
    return Lease(ENVELOPE, "1-1", attempt, losses, 0)


def a_step(tries: int = 3, **fields: Any) -> Step:
    backoff = Backoff(first=1.0, factor=2.0, cap=600.0)
    return Step("orders.Send", Policy(tries, backoff), print, **fields)


def replace_policy(step: Step, **fields: Any) -> Step:
    return dataclasses.replace(step, policy=dataclasses.replace(step.policy, **fields))


def raised() -> Raised:
    try:
        raise ValueError("boom")
    except ValueError as error:
        return Raised(error)


def test_what_returned_is_done_and_followed_by_what_follows() -> None:
    settlement = judge(a_lease(), a_step(regardless=FAILED), Returned(NEXT), NOW)
    assert (settlement.verdict, settlement.then) == ("done", NEXT)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 500), (2, 1000)])
def test_what_failed_is_tried_again_after_the_backoff(attempt: int, delay: int) -> None:
    settlement = judge(a_lease(attempt), a_step(regardless=NEXT), raised(), NOW, lambda: 0.5)
    assert (settlement.verdict, settlement.at) == ("retry", NOW + delay)
    assert settlement.then == NEXT
    assert settlement.error.endswith("ValueError: boom\n")


def test_what_failed_for_the_last_time_is_dead_with_its_traceback() -> None:
    step = a_step(regardless=NEXT, on_death=lambda error: FAILED if "boom" in error else ())
    settlement = judge(a_lease(3), step, raised(), NOW)
    assert (settlement.verdict, settlement.reason) == ("dead", "failed")
    assert settlement.error.endswith("ValueError: boom\n")
    assert settlement.then == NEXT + FAILED


def test_a_result_that_cannot_be_kept_is_dead_at_once_whatever_is_retried_or_dropped() -> None:
    step = replace_policy(a_step(on_death=lambda error: FAILED), drop_on=(Exception,))
    ending = Raised(InvalidResult("it is a set"))
    settlement = judge(a_lease(1), step, ending, NOW)
    assert (settlement.verdict, settlement.reason) == ("dead", "invalid_result")
    assert (settlement.error, settlement.then) == ("it is a set", FAILED)
    assert outcome(ending, step.policy) == "failure"


def test_a_retry_asked_for_comes_when_it_was_asked_for() -> None:
    settlement = judge(a_lease(), a_step(), Raised(Retry(delay=7.5)), NOW)
    assert (settlement.verdict, settlement.at, settlement.error) == ("retry", NOW + 7500, "")


def test_a_retry_without_a_delay_comes_after_the_backoff() -> None:
    settlement = judge(a_lease(2), a_step(), Raised(Retry()), NOW, lambda: 0.25)
    assert (settlement.verdict, settlement.at) == ("retry", NOW + 500)


def test_a_retry_asked_for_counts_as_a_try() -> None:
    assert judge(a_lease(3), a_step(), Raised(Retry(0)), NOW).verdict == "dead"


def test_what_is_discarded_is_done_and_what_does_not_wait_for_it_goes_on() -> None:
    step = a_step(regardless=NEXT, on_return=lambda _: FAILED, on_death=lambda _: FAILED)
    settlement = judge(a_lease(), step, Raised(Discard("no such order")), NOW)
    assert (settlement.verdict, settlement.then) == ("done", NEXT)


def test_an_error_that_is_not_among_those_to_retry_on_is_the_last() -> None:
    step = replace_policy(a_step(), retry_on=(ConnectionError,))
    assert judge(a_lease(), step, Raised(ConnectionResetError()), NOW).verdict == "retry"
    assert judge(a_lease(), step, Raised(Retry(1)), NOW).verdict == "retry"
    settlement = judge(a_lease(), step, Raised(ValueError()), NOW)
    assert (settlement.verdict, settlement.reason) == ("dead", "failed")


def test_an_error_among_those_to_drop_is_discarded() -> None:
    step = replace_policy(a_step(regardless=NEXT), drop_on=(KeyError,))
    settlement = judge(a_lease(), step, Raised(KeyError()), NOW)
    assert (settlement.verdict, settlement.then) == ("done", NEXT)


def test_a_timeout_counts_as_a_try_and_is_a_reason_of_its_own() -> None:
    timeout = Raised(HandlerTimeout("orders.Send", 1.5))
    assert judge(a_lease(), a_step(), timeout, NOW).verdict == "retry"
    settlement = judge(a_lease(3), a_step(), timeout, NOW)
    assert (settlement.verdict, settlement.reason) == ("dead", "timeout")
    assert "within its timeout of 1.5 s" in settlement.error


def test_what_was_cut_off_costs_no_try_is_counted_and_nothing_follows() -> None:
    settlement = judge(a_lease(), a_step(regardless=NEXT), CutOff(), NOW)
    assert (settlement.verdict, settlement.at, settlement.then) == ("cut", 0, ())


def test_what_was_cut_off_too_often_is_dead_and_says_what_to_do() -> None:
    """A10: it does not begin for ever."""
    lease = replace(a_lease(), cuts=2)
    assert judge(lease, a_step(), CutOff(tries=4), NOW).verdict == "cut"
    settlement = judge(lease, a_step(on_death=lambda _: FAILED), CutOff(tries=3), NOW)
    assert (settlement.verdict, settlement.reason, settlement.then) == ("dead", "cut_off", FAILED)
    assert "begun and cut off 3 times" in settlement.error
    assert "`drain`" in settlement.error


def test_what_has_cost_too_many_workers_is_dead() -> None:
    step = a_step(tries=9, regardless=NEXT, on_death=lambda error: FAILED)
    settlement = judge(a_lease(losses=3), step, LostTooOften(), NOW)
    assert (settlement.verdict, settlement.reason) == ("dead", "worker_lost")
    assert settlement.error == "3 workers died over it."
    assert settlement.then == NEXT + FAILED


def test_the_last_run_before_too_many_is_that_of_a_suspect() -> None:
    assert [is_suspect(n, 3) for n in range(5)] == [False, False, True, False, False]


def test_one_that_may_be_lost_but_once_is_no_suspect_before_it_is_lost() -> None:
    assert [is_suspect(n, 1) for n in range(3)] == [False, False, False]


def test_an_unknown_name_is_put_again_three_times_and_later_each_time() -> None:
    lease, waits = a_lease(), []
    for _ in range(3):
        settlement = judge_unknown(lease, "who?", NOW)
        (again,) = settlement.then
        assert (settlement.verdict, again.id, again.body) == ("done", "id-1", b"{}")
        waits.append(again.due - NOW)
        lease = replace(lease, envelope=again)
    assert waits == [1000, 5000, 25000]
    last = judge_unknown(lease, "who?", NOW)
    assert (last.verdict, last.reason, last.error, last.then) == (
        "dead",
        "unknown_task",
        "who?",
        (),
    )


def test_a_payload_that_does_not_fit_is_dead_at_once() -> None:
    settlement = judge_undecodable(a_lease(), "no")
    assert (settlement.verdict, settlement.reason, settlement.error) == (
        "dead",
        "undecodable",
        "no",
    )


@pytest.mark.parametrize(
    ("ending", "called"),
    [
        (Returned(()), "success"),
        (Raised(ValueError()), "failure"),
        (Raised(Retry()), "failure"),
        (Raised(Discard("")), "rejected"),
        (Raised(KeyError()), "rejected"),
        (Raised(HandlerTimeout("x", 1)), "timeout"),
        (CutOff(), "cancelled"),
        (LostTooOften(), "failure"),
    ],
)
def test_every_ending_has_a_name_in_metrics(ending: Ending, called: str) -> None:
    assert outcome(ending, Policy(drop_on=(KeyError,))) == called


def test_what_is_kept_of_an_error_is_masked() -> None:
    """D13"""
    log.hide({"DB_PASSWORD": "hidden-value"})
    error = Raised(ValueError("no way with hidden-value and api_key=abc"))
    told: list[str] = []

    def on_death(text: str) -> tuple[()]:
        told.append(text)
        return ()

    settlements = [
        judge(a_lease(), a_step(), error, NOW),
        judge(a_lease(3), a_step(on_death=on_death), error, NOW),
        judge_undecodable(a_lease(), str(error.error)),
    ]
    texts = [*told, *(settlement.error for settlement in settlements)]
    assert len(texts) == 4
    for text in texts:
        assert text.rstrip().endswith("no way with ****** and api_key=******")


def test_a_very_long_traceback_keeps_its_two_ends() -> None:
    def deeper(n: int) -> None:
        if n == 0:
            raise ValueError("boom" * 5000 + "!")
        deeper(n - 1)

    try:
        deeper(50)
    except ValueError as error:
        text = judge(a_lease(3), a_step(), Raised(error), NOW).error
    assert text.startswith("Traceback")
    assert text.endswith("boom!\n")
    assert len(text) < 9000
