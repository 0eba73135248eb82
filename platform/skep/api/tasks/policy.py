"""How often something is tried, for how long, and how a handler speaks about it itself."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from skep.base.backoff import Backoff
from skep.config.options.queues import LONGEST_DRAIN
from skep.engine.ids import LONGEST_DELAY, check_delay, is_delay

Errors = tuple[type[BaseException], ...]

# Full jitter: deliveries that failed together, because a service was away, return apart.
RETRY_BACKOFF = Backoff(first=1.0, factor=2.0, cap=600.0, jitter=1.0)
# How many workers may die over a delivery. Whether it has killed them is not known, but a delivery
# that does would otherwise do so for ever.
LOST_TRIES = 3
# How often a delivery may be cut off because its worker had to go before it ended.
CUT_TRIES = 5
# What fits where counts are kept.
LARGEST_COUNT = 2**31
A_COUNT = f"a whole number from 1 to {LARGEST_COUNT}"
A_DURATION = "a number of seconds above 0 and no more than a hundred years"


class Retry(Exception):
    """Raise it in a handler to be tried again, in `delay` seconds or after the usual backoff.

    It counts as a try: after the last one the delivery goes to the dead letters. A delay that is
    not possible raises ValueError.
    """

    def __init__(self, delay: float | None = None) -> None:
        super().__init__("asked to be tried again")
        if delay is not None:
            check_delay(delay)
        self.delay = delay


class Discard(Exception):
    """Raise it in a handler to end a delivery that is not worth trying again.

    It is not a failure: nothing is kept but a line in the log with the reason.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HandlerTimeout(TimeoutError):
    """A handler took longer than its `timeout` says; counted and tried again like an error."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"{name} did not end within its timeout of {seconds:g} s.")


@dataclass(frozen=True, slots=True)
class Policy:
    """The terms on which a step is run: what a task or listener declares, in one piece."""

    tries: int = 1
    backoff: Backoff = RETRY_BACKOFF
    timeout: float | None = None
    retry_on: Errors = (BaseException,)
    drop_on: Errors = ()
    lost_tries: int = LOST_TRIES
    drain: float | None = None
    cut_tries: int | None = None

    def is_dropped(self, error: BaseException) -> bool:
        """Return whether this error makes the delivery one that is not worth trying again."""
        return isinstance(error, (Discard, *self.drop_on))

    def is_retried(self, error: BaseException, attempt: int) -> bool:
        """Return whether there is another attempt after this error in that one (counted from 1)."""
        return attempt < self.tries and isinstance(error, (Retry, *self.retry_on))


def policy_of(cls: Any) -> Policy:
    """Return what a class of tasks or listeners declares."""
    return _policy_of(cls)


@cache
def _policy_of(cls: Any) -> Policy:
    declared: dict[str, Any] = {field.name: getattr(cls, field.name) for field in fields(Policy)}
    # The author may write lists, and change them later.
    declared |= {name: tuple(declared[name]) for name in ("retry_on", "drop_on")}
    return Policy(**declared)


def policy_problem(cls: Any) -> str:
    """Return what in the declaration of a class is not possible, or an empty text."""
    for name in ("tries", "lost_tries"):
        if problem := count_problem(name, getattr(cls, name)):
            return problem
    if cls.cut_tries is not None and not is_count(cls.cut_tries):
        return f"has cut_tries = {cls.cut_tries!r}, which must be {A_COUNT}, or None"
    if cls.drain is not None and not (is_delay(cls.drain) and cls.drain <= LONGEST_DRAIN):
        return (
            f"has drain = {cls.drain!r}, which must be seconds from 0 to {LONGEST_DRAIN:g}, or None"
        )
    if problem := _backoff_problem(cls.backoff):
        return f"has backoff = {cls.backoff!r}, {problem}"
    if cls.timeout is not None and not is_duration(cls.timeout):
        return f"has timeout = {cls.timeout!r}, which must be {A_DURATION}, or None for no limit"
    for name in ("retry_on", "drop_on"):
        if not _are_errors(value := getattr(cls, name)):
            return f"has {name} = {value!r}, which must be a tuple of classes of exceptions"
    return ""


def _backoff_problem(backoff: object) -> str:
    if not isinstance(backoff, Backoff):
        return "which must be a Backoff"
    for name in ("first", "factor", "cap", "jitter"):
        if not is_delay(value := getattr(backoff, name)):
            return f"whose {name} is {value!r} and must be from 0 to {LONGEST_DELAY}"
    return ""


def is_count(value: object) -> bool:
    """Return whether this is a whole number from 1 to LARGEST_COUNT."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and 1 <= value <= LARGEST_COUNT  # type: ignore[operator]


def count_problem(name: str, value: object) -> str:
    """Return why an attribute with this value is not a count, or an empty text."""
    return "" if is_count(value) else f"has {name} = {value!r}, which must be {A_COUNT}"


def is_duration(value: object) -> bool:
    """Return whether this is a number of seconds above 0, and no more than a hundred years."""
    return is_delay(value) and bool(value)


def _are_errors(value: object) -> bool:
    return isinstance(value, tuple | list) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in value
    )
