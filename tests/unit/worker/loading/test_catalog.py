"""What the plugins declare, collected and checked."""

from typing import Any

import pytest

from skep.api.cron import CronJob, Tick
from skep.api.plugin import Plugin
from skep.api.tasks.event import Event, Listener
from skep.api.tasks.task import Task
from skep.base.errors import PluginError
from skep.worker.loading.catalog import Catalog


class Paid(Event):
    order: int


class Send(Task):
    async def handle(self, ctx: Any) -> None: ...


class OnPaid(Listener[Paid]):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


class AlsoOnPaid(Listener[Paid], name="extra.OnPaid"):
    async def handle(self, event: Paid, ctx: Any) -> None: ...


def test_everything_is_found_under_its_name() -> None:
    catalog = Catalog.collect({"shop": Plugin(tasks=[Send], listeners=[OnPaid])})
    assert catalog.tasks == {"test_catalog.Send": Send}
    assert catalog.events == {"test_catalog.Paid": Paid}
    assert catalog.listeners == {"test_catalog.Paid": (OnPaid,)}
    assert set(catalog.plugins) == {"shop"}


def test_listeners_stand_in_the_order_of_the_plugins_names_and_their_own() -> None:
    catalog = Catalog.collect(
        {"b": Plugin(listeners=[OnPaid]), "a": Plugin(events=[Paid], listeners=[AlsoOnPaid])}
    )
    assert catalog.listener_names() == {
        "test_catalog.Paid": ("extra.OnPaid", "test_catalog.OnPaid")
    }


def test_two_classes_of_one_name_are_refused() -> None:
    class Other(Task, name="test_catalog.Send"):
        async def handle(self, ctx: Any) -> None: ...

    with pytest.raises(PluginError, match="are both named") as caught:
        Catalog.collect({"a": Plugin(tasks=[Send]), "b": Plugin(tasks=[Other])})
    assert caught.value.plugin == "b"


def test_one_class_may_be_declared_twice() -> None:
    catalog = Catalog.collect({"a": Plugin(tasks=[Send]), "b": Plugin(tasks=[Send])})
    assert list(catalog.tasks) == ["test_catalog.Send"]


def test_a_listener_of_two_plugins_is_refused() -> None:
    with pytest.raises(PluginError, match=r"OnPaid is declared by another plugin") as caught:
        Catalog.collect({"a": Plugin(listeners=[OnPaid]), "b": Plugin(listeners=[OnPaid])})
    assert caught.value.plugin == "b"


def test_a_cron_that_cannot_be_made_is_refused_with_its_name() -> None:
    class Beat(CronJob):
        every = "1s"

        def __init__(self) -> None:
            raise ValueError("no battery")

        def run(self, tick: Tick) -> None: ...

    with pytest.raises(PluginError, match=r"The cron .*Beat cannot be made: .*no battery"):
        Catalog.collect({"shop": Plugin(crons=[Beat])})
