"""How PLATFORM_CRONS is read."""

import pytest

from skep.base.errors import UsageError
from skep.config.options.crons import CronChoice, parse


def test_all_forms_of_an_entry() -> None:
    text = """["a.B", ["a.C", [1000, true]], ["a.D", [50]], ["a.E"],
        {"class": "a.F", "schedule": "@daily", "tz": "UTC", "immediate": true},
        {"class": "a.G", "enabled": false}]"""
    assert parse(text) == (
        CronChoice("a.B"),
        CronChoice("a.C", "1000ms", immediate=True),
        CronChoice("a.D", "50ms"),
        CronChoice("a.E"),
        CronChoice("a.F", "@daily", "UTC", True),
        CronChoice("a.G", enabled=False),
    )


def test_nothing_is_no_choice() -> None:
    assert parse("") == parse(" []") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not JSON"),
        ('{"class": "a.B"}', "is not a list"),
        ("[3]", "holds 3"),
        ('[["a.B", ["1s", true]]]', 'holds ["a.B", ["1s", true]]'),
        ('[["a.B", [1000, 1]]]', 'holds ["a.B"'),
        ('[["a.B", [true]]]', 'holds ["a.B"'),
        ('[{"schedule": "10s"}]', 'holds {"schedule"'),
        ('[{"class": "a.B", "every": "10s"}]', "'a.B': 'every' is not a field"),
        ('[{"class": "a.B", "schedule": 10}]', "'a.B': schedule is 10; it takes a text"),
        ('[{"class": "a.B", "enabled": "no"}]', "'a.B': enabled is \"no\"; it takes true or false"),
    ],
)
def test_what_does_not_fit_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert str(raised.value).startswith("PLATFORM_CRONS")
    assert said in str(raised.value)
