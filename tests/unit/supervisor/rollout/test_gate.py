"""When a rollout may begin."""

from skep.supervisor.request import RolloutRequest, merge
from skep.supervisor.rollout.gate import AT_MOST, SERIES, SETTLE_LIVE, Gate, ask, put_back, take
from skep.wire.plan import Problem

CONFIG = RolloutRequest("config", "a release", snapshot="a.json")


def test_an_empty_gate_lets_nothing_out() -> None:
    assert Gate().due is None
    assert take(Gate(), 100.0) == (Gate(), None)


def test_a_config_request_settles_for_a_tenth_of_a_second() -> None:
    gate = ask(Gate(), CONFIG, 10.0)
    assert take(gate, 10.05) == (gate, None)
    assert take(gate, 10.11) == (Gate(latest=10.0), CONFIG)


def test_what_follows_soon_after_another_waits_for_the_end_of_the_series() -> None:
    gate, _ = take(ask(Gate(), CONFIG, 10.0), 10.1)
    gate = ask(gate, CONFIG, 10.2)
    assert gate.due == 10.2 + SERIES
    # As long as they come, but not for ever
    gate = ask(gate, CONFIG, 10.6)
    assert gate.due == 10.6 + SERIES
    assert ask(gate, CONFIG, 13.1).due == 10.2 + AT_MOST


def test_what_comes_a_while_after_another_does_not_wait_longer() -> None:
    gate, _ = take(ask(Gate(), CONFIG, 10.0), 10.1)
    assert ask(gate, CONFIG, 10.0 + SERIES).due == 10.0 + SERIES + 0.1


def test_a_command_and_a_live_change_do_not_wait_for_the_end_of_a_series() -> None:
    gate, _ = take(ask(Gate(), CONFIG, 10.0), 10.1)
    assert ask(gate, RolloutRequest("cli", forced=True), 10.2).due == 10.2
    live = RolloutRequest("config", snapshot="a.json", live=True)
    assert ask(gate, live, 10.2).due == 10.2 + SETTLE_LIVE


def test_a_change_that_needs_no_new_worker_waits_less_unless_another_comes_in_between() -> None:
    live = RolloutRequest("config", snapshot="a.json", live=True)
    gate = ask(Gate(), live, 0.0)
    assert gate.due == 0.02
    assert ask(gate, CONFIG, 0.01).due == 0.11


def test_a_command_does_not_wait() -> None:
    request = RolloutRequest("cli", forced=True)
    assert take(ask(Gate(), request, 5.0), 5.0) == (Gate(latest=5.0), request)


def test_each_save_starts_the_quiet_time_anew_but_not_for_ever() -> None:
    gate, now = Gate(), 0.0
    while take(gate, now)[1] is None:
        gate = ask(gate, RolloutRequest("code", "orders.py", code=f"{now}"), now)
        now += 0.2
        assert now < 10
    assert AT_MOST <= now < AT_MOST + 0.4


def test_the_latest_word_on_each_thing_wins() -> None:
    gate = ask(Gate(), CONFIG, 0.0)
    gate = ask(gate, RolloutRequest("code", "b", code="new", waiters=(1,)), 0.0)
    gate = ask(gate, RolloutRequest("config", "c", snapshot="c.json", waiters=(2,)), 0.0)
    _, request = take(gate, 1.0)
    assert request is not None
    assert (request.snapshot, request.code, request.waiters) == ("c.json", "new", (1, 2))
    assert request.reason == "a release; b; c"


def test_a_reason_that_is_overtaken_is_not_told() -> None:
    newer = RolloutRequest("config", "a newer release", snapshot="b.json")
    assert merge(CONFIG, newer).reason == "a newer release"
    assert (
        merge(CONFIG, RolloutRequest("code", "orders.py", code="1")).reason
        == "a release; orders.py"
    )


def test_a_forced_request_stays_forced() -> None:
    assert merge(RolloutRequest("cli", forced=True), CONFIG).forced


def test_problems_belong_to_a_state_of_the_code() -> None:
    broken = RolloutRequest("code", code="1", problems=(Problem("load", "no"),))
    assert merge(broken, CONFIG).problems == broken.problems
    assert merge(broken, RolloutRequest("code", code="2")).problems == ()


def test_the_problems_of_a_rollback_are_not_those_of_what_is_merged_with_it() -> None:
    back = RolloutRequest("rollback", problems=(Problem("probation", "no"),), forced=True)
    assert merge(back, CONFIG).problems == ()
    assert merge(CONFIG, back).problems == back.problems


def test_what_is_put_back_is_older_than_what_waits() -> None:
    assert put_back(Gate(), CONFIG, 1.0).pending == CONFIG
    newer = RolloutRequest("config", "newer", snapshot="b.json", waiters=(2,))
    older = RolloutRequest("code", "older", snapshot="a.json", code="1", waiters=(1,))
    pending = put_back(ask(Gate(), newer, 0.0), older, 1.0).pending
    assert pending is not None
    assert (pending.snapshot, pending.code, pending.waiters) == ("b.json", "1", (1, 2))
