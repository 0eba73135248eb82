"""Crons: what runs by the clock.

    @cron(every="500ms")                                  @cron("*/5 * * * *", tz="Asia/Shanghai")
    async def sweep(tick): ...                            def report(tick): ...

    class Beat(CronJob):
        every = "1s"

        async def run(self, tick): ...

Each generation has one process for all crons; an `async def` runs in its event loop, a `def` in a
thread of its own.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Protocol, get_args
from zoneinfo import ZoneInfo

from skep.api.callables import named_thing
from skep.api.cron_string import CronString
from skep.api.naming import plugin_of
from skep.base.errors import PluginError

Overlap = Literal["skip", "queue", "allow"]
Misfire = Literal["skip", "once"]
RunIn = Literal["timer", "task"]
Scope = Literal["cluster", "node"]
Duration = str | float

SHORTEST = 0.005
# Seconds, some three hundred years: what is longer is a mistake, and no calendar has it.
_LONGEST = 1e10
# Bytes: it is the key of what is kept of the cron.
LONGEST_NAME = 200

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")


@dataclass(frozen=True)
class Tick:
    """What a handler is given.

    `scheduled_at` is when the run was due (aware; in the cron's time zone), `n` counts its runs
    from 1 and goes on through rollouts, `missed` is how many due moments since the last run went by
    without one. `epoch` grows with every new holder of the cluster's timer; 0 while there is none.
    """

    scheduled_at: datetime
    n: int
    missed: int = 0
    epoch: int = 0


class Trigger(Protocol):
    """Returns the next due moment; every trigger of APScheduler 3 is one."""

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return the first moment after `previous_fire_time`, or, if it never fired, not before
        `now`; None if there is none any more. All are aware."""


@dataclass(frozen=True)
class CronTerms:
    """When a cron is due and what holds for its runs, checked. Either `every` or `trigger` is set.

    All durations are seconds.
    """

    every: float | None
    trigger: Trigger | None
    overlap: Overlap
    misfire: Misfire
    grace: float
    immediate: bool
    timeout: float | None
    run_in: RunIn = "timer"
    scope: Scope = "cluster"

    def __str__(self) -> str:
        return f"every {self.every} s" if self.every is not None else str(self.trigger)


class CronJob:
    """Something that runs by the clock. Subclass it and say when, in one of three ways.

    `every`: a duration ("250ms", "10s", "5m", "1h", or seconds as a number), 5 ms or more; the runs
    keep step with the start, whatever the wall clock does. `cron`: a cron string, in the time zone
    `tz` (UTC unless given, so that every machine means the same). `trigger`: an APScheduler
    trigger.

    `overlap` is what happens when it is due while it still runs: `skip` it, let it wait in a
    `queue` (where the newest replaces an older one), or `allow` both. What is due later than
    `grace` ago (a minute; for `every` its duration, but at least a second) has misfired: it is
    skipped, or made up for `once`. Moments missed together make one run. `immediate` runs it at the
    start too. `timeout` cancels an `async def`; a `def` cannot be stopped and is only reported.
    `run_in` says where it runs: in the `timer`, or each moment as a `task`, delivered once and run
    by a task worker. `scope` says whether it runs once in the `cluster` or on every `node`; with
    the embedded engine a cluster is one data directory, and both are the same.
    """

    every: ClassVar[Duration | None] = None
    cron: ClassVar[str | None] = None
    tz: ClassVar[str | None] = None
    trigger: ClassVar[Trigger | None] = None
    overlap: ClassVar[Overlap] = "skip"
    misfire: ClassVar[Misfire] = "skip"
    grace: ClassVar[Duration | None] = None
    immediate: ClassVar[bool] = False
    timeout: ClassVar[Duration | None] = None
    run_in: ClassVar[RunIn] = "timer"
    scope: ClassVar[Scope] = "cluster"
    name: str | None = None

    terms: CronTerms
    stopped: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check the options of the class. A class without a time is a base for others."""
        super().__init_subclass__(**kwargs)
        if (cls.every, cls.cron, cls.trigger) == (None, None, None):
            return
        given = {option: getattr(cls, option) for option in _OPTIONS}
        cls.terms = _checked(cls.name or cls.__name__, cls.__module__, "", 0, given)

    def run(self, tick: Tick) -> Any:
        """Do the work; `def` or `async def`."""
        raise NotImplementedError

    def stop(self) -> None:
        """Make it no longer due, until the next rollout or restart."""
        self.stopped = True

    @property
    def handler(self) -> Callable[[Tick], Any]:
        """The function that is called."""
        return self.run

    @property
    def runs_in_task(self) -> bool:
        """Whether a task worker runs it."""
        return self.terms.run_in == "task"


class FunctionCron(CronJob):
    """A function that runs by the clock; it can still be called as one."""

    def __init__(self, function: Callable[[Tick], Any], name: str | None, terms: CronTerms) -> None:
        self.name = name or named_thing(function).__name__
        self.terms = terms
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, tick: Tick) -> Any:
        return self._function(tick)

    @property
    def handler(self) -> Callable[[Tick], Any]:
        return self._function


_OPTIONS = (
    *("every", "cron", "tz", "trigger"),
    *("overlap", "misfire", "grace", "immediate", "timeout", "run_in", "scope"),
)
_CHOICES = {"overlap": Overlap, "misfire": Misfire, "run_in": RunIn, "scope": Scope}


def cron(
    text: str | None = None,
    /,
    *,
    every: Duration | None = None,
    trigger: Trigger | None = None,
    tz: str | None = None,
    overlap: Overlap = "skip",
    misfire: Misfire = "skip",
    grace: Duration | None = None,
    immediate: bool = False,
    timeout: Duration | None = None,
    run_in: RunIn = "timer",
    scope: Scope = "cluster",
    name: str | None = None,
) -> Callable[[Callable[[Tick], Any]], FunctionCron]:
    """Let a function run by the clock; CronJob explains the options.

    Raises PluginError at the decoration if one of them is not possible.
    """
    if inspect.isfunction(text):
        raise PluginError(
            plugin_of(text.__module__),
            f"@cron above {text.__qualname__} needs parentheses and a time, as in "
            '@cron(every="10s") or @cron("*/5 * * * *").',
            text.__code__.co_filename,
            text.__code__.co_firstlineno,
        )
    values = (every, text, tz, trigger, overlap, misfire, grace, immediate, timeout, run_in, scope)
    given = dict(zip(_OPTIONS, values, strict=True))

    def decorate(function: Callable[[Tick], Any]) -> FunctionCron:
        code = getattr(function, "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
        named = named_thing(function)
        terms = _checked(name or named.__name__, named.__module__, file, line, given)
        return FunctionCron(function, name, terms)

    return decorate


def named(plugin: str, crons: Sequence[CronJob | type[CronJob]]) -> dict[str, CronJob]:
    """Return what a plugin declares, by full name (`orders.sweep`).

    Raises PluginError if two have the same name, one says no time, or one cannot be made.
    """
    found: dict[str, CronJob] = {}
    for declared in crons:
        job = _made(plugin, declared)
        name = f"{plugin}.{job.name or type(job).__name__}"
        if not hasattr(job, "terms"):
            raise PluginError(
                plugin, f"The cron {name} says no time: give it every, cron or trigger."
            )
        if len(name.encode()) > LONGEST_NAME:
            raise PluginError(plugin, f"The name of the cron {name} is longer than 200 bytes.")
        if name in found:
            raise PluginError(plugin, f"The plugin {plugin} has two crons with the name {name}.")
        found[name] = job
    return found


def _made(plugin: str, declared: CronJob | type[CronJob]) -> CronJob:
    if not isinstance(declared, type):
        return declared
    try:
        return declared()
    except Exception as error:
        called = f"{declared.__module__}.{declared.__qualname__}"
        raise PluginError(plugin, f"The cron {called} cannot be made: {error!r}.") from error


def seconds(duration: Duration) -> float:
    """Read a duration. Raises ValueError with a sentence if it is none."""
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration)
        value = float(match[1]) * _UNITS[match[2]] if match else math.nan
    else:
        value = float(min(duration, 2 * _LONGEST))
    if not 0 < value <= _LONGEST:
        raise ValueError(
            f'"{duration!s:.40}" is not a duration; "250ms", "10s", "5m", "1h" or 0.25 are.'
        )
    return value


def _checked(name: str, module: str, file: str, line: int, given: Mapping[str, Any]) -> CronTerms:
    try:
        return _terms(given)
    except (TypeError, ValueError) as error:
        raise PluginError(
            plugin_of(module), f"The cron {name} cannot run: {error}", file, line
        ) from error


def _terms(given: Mapping[str, Any]) -> CronTerms:
    every, cron, tz, trigger, overlap, misfire, grace, immediate, timeout, run_in, scope = (
        given[option] for option in _OPTIONS
    )
    if sum(option is not None for option in (every, cron, trigger)) != 1:
        raise ValueError("it needs one of every, a cron string and trigger.")
    if tz is not None and cron is None:
        raise ValueError("tz goes with a cron string only.")
    for option, choices in _CHOICES.items():
        if (value := given[option]) not in get_args(choices):
            raise ValueError(f'{option} is "{value}", not one of {", ".join(get_args(choices))}.')
    if not isinstance(immediate, bool):
        raise ValueError(f"immediate is {immediate!r}, not True or False.")
    for option, text in (("cron", cron), ("tz", tz)):
        if text is not None and not isinstance(text, str):
            raise ValueError(f"{option} is {text!r}, not a text.")
    fires = callable(getattr(trigger, "get_next_fire_time", None))
    if trigger is not None and (isinstance(trigger, type) or not fires):
        raise ValueError(f"trigger is {trigger!r}, not an object with get_next_fire_time().")
    interval = None if every is None else _interval(every)
    default_grace = 60.0 if interval is None else max(1.0, interval)
    return CronTerms(
        every=interval,
        trigger=trigger if cron is None else _cron_string(cron, tz),
        overlap=overlap,
        misfire=misfire,
        grace=default_grace if grace is None else seconds(grace),
        immediate=immediate,
        timeout=None if timeout is None else seconds(timeout),
        run_in=run_in,
        scope=scope,
    )


def _interval(every: Duration) -> float:
    interval = seconds(every)
    if interval < SHORTEST:
        raise ValueError(f'"{every}" is shorter than 5 ms, which no event loop keeps up with.')
    return interval


def _cron_string(text: str, tz: str | None) -> CronString:
    try:
        zone = UTC if tz is None else ZoneInfo(tz)
    # A name that is a folder of the zone database raises an OSError.
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f'"{tz}" is not a time zone that this machine knows.') from error
    return CronString(text, zone)
