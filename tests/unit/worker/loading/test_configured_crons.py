"""What PLATFORM_CRONS makes of the crons of plugins."""

import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from skep.api.cron import CronJob, FunctionCron, Tick, cron
from skep.api.plugin import Plugin
from skep.base.errors import UsageError
from skep.config.options.table import Options
from skep.worker.loading.catalog import Catalog
from skep.worker.loading.configured_crons import with_configured_crons


def module(name: str) -> ModuleType:
    found = sys.modules[name] = ModuleType(name)
    return found


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    """A plugin `pulse` that declares Beat and sweep; its module jobs defines more."""
    before = set(sys.modules)
    pulse, jobs = module("plugins.pulse"), module("plugins.pulse.jobs")

    class Beat(CronJob):
        every = "10s"
        overlap = "queue"

        def run(self, tick: Tick) -> None: ...

    class Timeless(CronJob):
        overlap = "allow"

        def run(self, tick: Tick) -> None: ...

    class Needy(CronJob):
        every = "1s"

        def __init__(self, given: int) -> None: ...

    @cron("0 3 * * *", grace="5m")
    def sweep(tick: Tick) -> None: ...

    @cron(every="1m")
    def extra(tick: Tick) -> None: ...

    for home, things in ((pulse, (Beat, sweep)), (jobs, (Timeless, Needy, extra))):
        for thing in things:
            name = thing.name if isinstance(thing, FunctionCron) else thing.__name__
            thing.__module__ = home.__name__
            setattr(home, str(name), thing)
    pulse.CronJob = CronJob  # type: ignore[attr-defined]
    pulse.number = 3  # type: ignore[attr-defined]
    yield Catalog.collect({"pulse": Plugin(crons=[Beat, sweep])})
    for name in set(sys.modules) - before:
        del sys.modules[name]


def chosen(catalog: Catalog, *entries: Any) -> dict[str, CronJob]:
    options = Options(crons=json.dumps(entries))
    return dict(with_configured_crons(catalog, options).crons)


def test_without_choices_the_plugins_decide(catalog: Catalog) -> None:
    assert chosen(catalog) == catalog.crons


@pytest.mark.parametrize("name", ["pulse.Beat", "plugins.pulse.Beat"])
def test_a_declared_cron_gets_another_time_and_keeps_the_rest(catalog: Catalog, name: str) -> None:
    found = chosen(catalog, {"class": name, "schedule": "*/5 * * * *", "tz": "Asia/Tokyo"})
    terms = found["pulse.Beat"].terms
    assert (terms.every, terms.overlap, terms.grace) == (None, "queue", 60)
    assert "*/5 * * * *" in str(terms)
    assert "Asia/Tokyo" in str(terms)
    assert list(found) == ["pulse.Beat", "pulse.sweep"]


def test_an_interval_as_in_laravels(catalog: Catalog) -> None:
    terms = chosen(catalog, ["pulse.sweep", [500, True]])["pulse.sweep"].terms
    # Its grace was chosen by the author.
    assert (terms.every, terms.trigger, terms.immediate, terms.grace) == (0.5, None, True, 300)


def test_one_is_switched_off(catalog: Catalog) -> None:
    assert list(chosen(catalog, {"class": "pulse.Beat", "enabled": False})) == ["pulse.sweep"]


def test_one_that_is_defined_and_not_declared_is_added(catalog: Catalog) -> None:
    found = chosen(catalog, "pulse.jobs.extra", {"class": "pulse.jobs.Timeless", "schedule": "2s"})
    assert list(found) == ["pulse.Beat", "pulse.sweep", "pulse.extra", "pulse.Timeless"]
    assert found["pulse.extra"].terms.every == 60
    terms = found["pulse.Timeless"].terms
    assert (terms.every, terms.overlap) == (2, "allow")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("pulse.Nothing", "defines such a cron. Registered: pulse.Beat, pulse.sweep"),
        ("other.Beat", "defines such a cron"),
        ("pulse.CronJob", "defines such a cron"),
        ("pulse.number", "defines such a cron"),
        ("os.system", "defines such a cron"),
        ("", "defines such a cron"),
        ("pulse.jobs.Timeless", "give it a schedule"),
        ("pulse.jobs.Needy", "it cannot be made"),
        ({"class": "pulse.Beat", "schedule": "61 * * * *"}, '"61 * * * *"'),
        ({"class": "pulse.Beat", "schedule": "1ms"}, "5 ms"),
        ({"class": "pulse.Beat", "schedule": "@daily", "tz": "Mars/Base"}, "Mars/Base"),
        ({"class": "pulse.Beat", "schedule": "10s", "tz": "UTC"}, "is an interval"),
        ({"class": "pulse.Beat", "tz": "UTC"}, "without a schedule"),
        ({"class": "pulse.jobs.Timeless", "schedule": "0 0 31 2 *"}, '"0 0 31 2 *"'),
    ],
)
def test_what_is_not_possible_names_key_class_and_value(
    catalog: Catalog, entry: Any, said: str
) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(catalog, entry)
    name = entry["class"] if isinstance(entry, dict) else entry
    assert str(raised.value).startswith(f"PLATFORM_CRONS, {name!r}: ")
    assert said in str(raised.value)


def test_every_fault_is_reported_and_twice_is_one(catalog: Catalog) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(catalog, "pulse.Beat", "plugins.pulse.Beat", "pulse.Nothing")
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "PLATFORM_CRONS, 'plugins.pulse.Beat'",
        "PLATFORM_CRONS, 'pulse.Nothing'",
    ]
