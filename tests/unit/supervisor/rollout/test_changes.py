"""What a change of each kind of key takes."""

import pytest

from skep.supervisor.request import Action, KeyChange
from skep.supervisor.rollout.decision import action, changes_between, without_rollout
from skep.wire.plan import Plan

PLAN = Plan(live=("SOFT", "BOTH"), fixed=("HARD", "BOTH"))


@pytest.mark.parametrize(
    ("key", "takes"),
    [
        ("SOFT", "live"),
        ("soft", "live"),  # the case of a key does not count
        ("HARD", "rollout"),
        ("hard", "rollout"),
        ("BOTH", "rollout"),  # two Settings classes read it: the stricter one decides
        ("OTHER", "unused"),
        ("PLATFORM_LOG_LEVEL", "live"),
        ("PLATFORM_WEB_WORKERS", "live"),
        ("PLATFORM_PORT", "rollout"),
        ("platform_port", "rollout"),
        ("PLATFORM_ADMIN_PORT", "restart"),
        ("PLATFORM_NOSUCH", "unused"),
    ],
)
def test_what_a_change_of_a_key_takes(key: str, takes: Action) -> None:
    assert action(key, PLAN) == takes


def test_a_plugin_cannot_say_what_a_change_of_the_platform_s_own_key_takes() -> None:
    plan = Plan(live=("PLATFORM_PORT",), fixed=("PLATFORM_LOG_LEVEL",))
    assert action("PLATFORM_PORT", plan) == "rollout"
    assert action("PLATFORM_LOG_LEVEL", plan) == "live"


def test_each_key_that_differs_has_an_effect_with_the_layer_of_the_new_value() -> None:
    old = {"SAME": "1", "SOFT": "1", "GONE": "1"}
    new = {"SAME": "1", "SOFT": "2", "ADDED": ""}
    found = changes_between(
        old, new, {"SAME": "remote", "SOFT": ".env.local", "ADDED": "remote"}, PLAN
    )
    assert found == [
        KeyChange("ADDED", None, "", "remote", "unused"),
        KeyChange("GONE", "1", None, "", "unused"),
        KeyChange("SOFT", "1", "2", ".env.local", "live"),
    ]


@pytest.mark.parametrize(
    ("actions", "is_so"),
    [
        ([], True),
        (["live", "unused", "restart"], True),
        (["live", "rollout"], False),
        (["rollout", "live"], False),
    ],
)
def test_one_key_that_takes_a_rollout_is_enough(actions: list[Action], is_so: bool) -> None:
    found = [KeyChange(str(n), "1", "2", "", takes) for n, takes in enumerate(actions)]
    assert without_rollout(found) is is_so


def test_a_secret_value_is_not_shown() -> None:
    shown = KeyChange("DB_PASSWORD", "secret-1", None, "remote", "live").to_json()
    assert shown["new"] is None
    assert "secret-1" not in str(shown)
