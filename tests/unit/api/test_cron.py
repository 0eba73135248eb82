import asyncio
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from skep.api.cron import CronJob, Tick, cron, named, seconds
from skep.base.errors import PluginError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("1h", 3600),
        ("1.5 d", 129600),
        (0.5, 0.5),
        (2, 2),
    ],
)
def test_a_duration_is_read(duration: str | float, expected: float) -> None:
    assert seconds(duration) == pytest.approx(expected)


@pytest.mark.parametrize(
    "duration", ["", "5", "5 weeks", "-1s", "1h30m", "ms", 0, -1, float("inf")]
)
def test_what_is_no_duration_is_refused(duration: str | float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(duration)


def test_a_decorated_function_can_still_be_called() -> None:
    @cron(every="500ms", overlap="queue", grace="2s", timeout=3)
    async def sweep(tick: Tick) -> str:
        """Sweep."""
        return f"swept {tick.n}"

    assert asyncio.run(sweep(Tick(NOON, 7))) == "swept 7"
    assert (sweep.name, sweep.__doc__) == ("sweep", "Sweep.")
    assert (sweep.terms.every, sweep.terms.overlap) == (0.5, "queue")
    assert (sweep.terms.grace, sweep.terms.timeout) == (2, 3)


def test_a_class_says_the_same_by_its_attributes() -> None:
    class Beat(CronJob):
        cron = "0 9 * * 1-5"
        tz = "Asia/Shanghai"
        misfire = "once"

        def run(self, tick: Tick) -> int:
            return tick.n

    assert str(Beat.terms) == "cron 0 9 * * 1-5 Asia/Shanghai"
    assert Beat.terms.misfire == "once"
    assert Beat().handler(Tick(NOON, 3)) == 3


@pytest.mark.parametrize(("every", "grace"), [("10ms", 1), ("5s", 5), ("1h", 3600)])
def test_an_interval_may_be_late_by_itself_but_at_least_a_second(every: str, grace: float) -> None:
    @cron(every=every)
    def sweep(tick: Tick) -> None: ...

    assert sweep.terms.grace == grace


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "needs one of every, a cron string and trigger"),
    ({"every": "1s", "trigger": IntervalTrigger(seconds=1)}, "needs one of"),
    ({"every": "1s", "tz": "UTC"}, "tz goes with a cron string only"),
    ({"every": "4ms"}, '"4ms" is shorter than 5 ms'),
    ({"every": "soon"}, '"soon" is not a duration'),
    ({"every": 10**400}, '"10+" is not a duration'),
    ({"every": float("nan")}, '"nan" is not a duration'),
    ({"every": "9999999999d"}, '"9999999999d" is not a duration'),
    ({"every": "1s", "grace": "0s"}, '"0s" is not a duration'),
    ({"every": "1s", "timeout": "never"}, '"never" is not a duration'),
    ({"every": "1s", "overlap": "join"}, 'overlap is "join", not one of skip, queue, allow'),
    ({"every": []}, "cannot run"),
    ({"every": "1s", "immediate": "yes"}, "immediate is 'yes', not True or False"),
    ({"trigger": "interval"}, "trigger is 'interval', not an object with get_next_fire_time"),
    ({"trigger": IntervalTrigger}, "not an object with get_next_fire_time"),
    ({"every": "1s", "misfire": "twice"}, 'misfire is "twice", not one of skip, once'),
    ({"every": "1s", "run_in": "web"}, 'run_in is "web", not one of timer, task'),
    ({"every": "1s", "scope": []}, r'scope is "\[\]", not one of cluster, node'),
]


@pytest.mark.parametrize(("options", "sentence"), BAD)
def test_options_that_cannot_be_meant_fail_where_they_stand(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence) as caught:

        @cron(**options)
        def sweep(tick: Tick) -> None: ...

    assert "The cron sweep cannot run" in str(caught.value)
    assert caught.value.file == __file__
    assert caught.value.line > 0


@pytest.mark.parametrize(
    ("text", "tz", "sentence"),
    [
        ("* * * *", None, r'"\* \* \* \*" is not a cron string: it has 4 fields'),
        ("@reboot", None, '"@reboot" is not a cron string: .* immediate=True'),
        ("0 0 31 2 *", None, r'"0 0 31 2 \*" never comes'),
        ("0 0 * * *", "Mars/Base", '"Mars/Base" is not a time zone that this machine knows'),
        ("0 0 * * *", "Europe", '"Europe" is not a time zone that this machine knows'),
        ("0 0 * * *", "../etc/passwd", "is not a time zone"),
    ],
)
def test_a_class_with_a_bad_cron_string_cannot_be_made(
    text: str, tz: str | None, sentence: str
) -> None:
    with pytest.raises(PluginError, match=sentence) as caught:
        type("Report", (CronJob,), {"cron": text, "tz": tz, "__module__": "plugins.orders.jobs"})
    assert "The cron Report cannot run" in str(caught.value)
    assert caught.value.plugin == "orders"


def test_names_are_the_plugin_s_and_the_function_s() -> None:
    @cron(every=1)
    def sweep(tick: Tick) -> None: ...

    @cron(every=1, name="night")
    def clean(tick: Tick) -> None: ...

    class Base(CronJob):
        grace: ClassVar[str] = "9s"

    class Beat(Base):
        every = "1s"

    found = named("orders", [sweep, clean, Beat])
    assert list(found) == ["orders.sweep", "orders.night", "orders.Beat"]
    assert found["orders.Beat"].terms.grace == 9
    with pytest.raises(PluginError, match=r"orders has two crons with the name orders\.sweep"):
        named("orders", [sweep, sweep])
    with pytest.raises(PluginError, match=r"The cron orders\.Base says no time"):
        named("orders", [Base])
    long = cron(every=1, name="n" * 200)(lambda tick: None)
    with pytest.raises(PluginError, match="is longer than 200 bytes"):
        named("orders", [long])


def test_where_it_runs_is_the_timer_unless_it_says_otherwise() -> None:
    class Far(CronJob):
        every = "1s"
        run_in = "task"
        scope = "node"

    assert (Far.terms.run_in, Far.terms.scope, Far().runs_in_task) == ("task", "node", True)
    sweep = cron(every=1)(lambda tick: None)
    assert (sweep.terms.run_in, sweep.terms.scope, sweep.runs_in_task) == (
        "timer",
        "cluster",
        False,
    )


def test_a_cron_can_be_stopped_alone() -> None:
    class Beat(CronJob):
        every = "1s"

    first, second = Beat(), Beat()
    first.stop()
    assert (first.stopped, second.stopped) == (True, False)
