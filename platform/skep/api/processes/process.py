"""Custom processes: the class that authors subclass, and what they declare with it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

from skep.api.callables import construction_problem, method_problem
from skep.api.processes.context import ProcessContext
from skep.api.processes.recipient import Recipient

Restart = Literal["always", "on_failure", "never"]

MOST = 256
LONGEST_STOP = 3600.0
# Bytes of `plugin.Class`, which is in the names of files.
LONGEST_NAME = 200


@dataclass(frozen=True)
class ProcessTerms:
    """What a class of processes declares, checked; `after` are registered names."""

    num: int = 1
    enable: bool = True
    restart: Restart = "always"
    required: bool = False
    after: tuple[str, ...] = ()
    overlap: bool = False
    stop_timeout: float | None = None
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


class Process(Recipient):
    """A process of its own that the platform keeps running.

        class Beat(Process, num=2):
            async def run(self, ctx):
                while not await ctx.stopping.wait(5):
                    print("still here")

    `run` is an `async def` in the event loop of the process, or a `def` in a thread of it. In place
    of `run` a class can name an external program: `class Node(Process, command=["node", "x.js"])`.
    What either prints is in the log, line by line.

    There are `num` processes of the class, none if `enable` is False. `restart` is what happens
    when one ends by itself: it is `always` started again, or only `on_failure` (not after `run`
    has returned, or the program has exited with 0), or `never`. One that ends within ten seconds
    waits longer each time, half a minute at most. When a `required` process is given up, the
    platform ends with exit code 7; without `required` its crashes concern no other.

    `after` are processes, by class or name, that have to run before this one goes. In a rollout the
    new process is prepared beside the old one and goes when that has ended, so that there are never
    two in one slot; with `overlap` both run for a moment. `stop_timeout` is how many seconds a
    process may take to end, `PLATFORM_DRAIN_TIMEOUT` unless given.

    Other code sends messages to it: see `Recipient`, whose options are `message`, `reply` and
    `largest`. It receives them by `async for message in ctx.messages()`.

    A command has the environment of the platform and that of `environment`, and runs as `user`,
    which takes a platform that runs as root.
    """

    terms: ClassVar[ProcessTerms] = ProcessTerms()

    def __init_subclass__(
        cls,
        *,
        num: int | None = None,
        enable: bool | None = None,
        restart: Restart | None = None,
        required: bool | None = None,
        after: Sequence[type[Process] | str] | type[Process] | str | None = None,
        overlap: bool | None = None,
        stop_timeout: float | None = None,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the options of the class; those that are not given are those of its base."""
        try:
            super().__init_subclass__(**kwargs)
        except TypeError as error:
            cls._problem = f"has options that no process has ({', '.join(kwargs)}): {error}"
        values = (num, enable, restart, required, after, overlap, stop_timeout, command,
                  environment, user)  # fmt: skip
        given = {
            name: value for name, value in zip(_OPTIONS, values, strict=True) if value is not None
        }
        try:
            cls.terms = replace(cls.terms, **{n: _READERS[n](n, v) for n, v in given.items()})
        except ValueError as error:
            cls._problem = str(error)

    def run(self, ctx: ProcessContext) -> Any:
        """Do the work until `ctx.stopping` is set; `def` or `async def`.

        To return is to end well, to raise is to fail, and `sys.exit(n)` exits with n. When the
        process has to end and `run` has not returned in time, an `async def` is cancelled; at once
        if it has never looked at `ctx.stopping` and the class has neither `on_stop` nor
        `on_reload`.
        """
        raise NotImplementedError

    def on_reload(self, ctx: ProcessContext) -> Any:
        """Called in the old process when a new generation has one in the same slot.

        `def` or `async def`. `ctx.stopping` is set already and `run` goes on; `on_stop` is called
        next. The new process waits until this one has ended, unless `overlap` is set. It is not
        called when the platform stops, when the class or this slot of it is gone from the new
        generation, by `platform proc restart`, or when the process ends by itself.
        """

    def on_stop(self, ctx: ProcessContext) -> Any:
        """Called when the process has to end, for whatever reason, while `run` goes on.

        `def` or `async def`, in the event loop in any case. It shares `stop_timeout` with what is
        left of `run`. It is not called when the process ends by itself or is killed.
        """


def problem_of(cls: type[Process]) -> str:
    """Return why a class cannot be run, as a text that reads on after its name; or an empty one."""
    if cls._problem:
        return cls._problem
    if problem := _naming_problem(cls):
        return problem
    if stray := next((name for name in _OPTIONS if name in vars(cls)), ""):
        shown = f"{vars(cls)[stray]!r:.40}"
        return (
            f"has {stray} = {shown} in its body; it is an option: "
            f"class {cls.__name__}(Process, {stray}={shown})"
        )
    has_run = cls.run is not Process.run
    if cls.terms.command and has_run:
        return "has a method run and command: give one of them"
    if not cls.terms.command and not has_run:
        return "has neither a method run nor command=[…]"
    for name in ("environment", "user"):
        if getattr(cls.terms, name) and not cls.terms.command:
            return f"has {name}, which goes with command only"
    if cls.terms.command and (cls._messages, cls._replies) != (Process._messages, Process._replies):
        return "has message, reply or largest, but an external program has no inbox"
    methods = ("on_reload", "on_stop", *(("run",) if has_run else ()))
    problems = (method_problem(cls, name, ("ctx",)) for name in methods)
    return next(filter(None, problems), "") or construction_problem(cls)


def _naming_problem(cls: type[Process]) -> str:
    if hidden := next((name for name in _CALLS if _is_hidden(cls, name)), ""):
        return f"has its own {hidden}, which is how others reach it; give that another name"
    if not cls.__name__.isidentifier() or len(cls.registered_name().encode()) > LONGEST_NAME:
        return (
            f"has the name {cls.__name__!r:.80}, which is to be an identifier, with its plugin "
            f"of {LONGEST_NAME} bytes at most"
        )
    return ""


def _is_hidden(cls: type[Process], name: str) -> bool:
    """Return whether a class has something else than a class method by this name."""
    return not isinstance(inspect.getattr_static(cls, name), classmethod)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        hint = "; enable=False has none" if value == 0 else ""
        raise _fault(name, value, f"a whole number from 1 to {MOST}{hint}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _fault(name, value, "True or False")
    return value


def _restart(name: str, value: Any) -> Restart:
    if value not in get_args(Restart):
        raise _fault(name, value, f"one of {', '.join(get_args(Restart))}")
    found: Restart = value
    return found


def _names(name: str, value: Any) -> tuple[str, ...]:
    one_by_one = value if isinstance(value, list | tuple) else (value,)
    found = []
    for one in one_by_one:
        if isinstance(one, type) and issubclass(one, Process):
            found.append(one.registered_name())
        elif isinstance(one, str) and one:
            found.append(one)
        else:
            raise _fault(name, one, "classes of processes, or their names like 'ticker.Echo'")
    return tuple(found)


def _duration(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= LONGEST_STOP:
        raise _fault(name, value, f"seconds above 0 and at most {LONGEST_STOP:g}")
    return float(value)


def _command(name: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, list | tuple) and bool(value)
    if not is_list or not all(_is_text(part) for part in value) or not value[0]:
        raise _fault(name, value, "a list of a program and its arguments, like ['node', 'x.js']")
    return tuple(value)


def _environment(name: str, value: Any) -> Mapping[str, str]:
    takes = "a dict of texts, like {'NODE_ENV': 'production'}"
    if not isinstance(value, Mapping):  # its values may be secrets
        raise ValueError(f"has {name} that is a {type(value).__name__}; it must be {takes}")
    for key, text in value.items():
        if not _is_text(key) or not key or "=" in key:
            raise ValueError(f"has {name} with the key {key!r:.80}; it must be {takes}")
        if not _is_text(text):  # which may be a secret
            raise ValueError(f"has {name}[{key!r}] that is not a text; it must be {takes}")
    return dict(value)


def _user(name: str, value: Any) -> str:
    if not _is_text(value) or not value:
        raise _fault(name, value, "the name of a user")
    return str(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _fault(name: str, value: object, takes: str) -> ValueError:
    return ValueError(f"has {name} = {value!r:.80}, which must be {takes}")


_READERS: Mapping[str, Any] = {
    "num": _count,
    "enable": _flag,
    "restart": _restart,
    "required": _flag,
    "after": _names,
    "overlap": _flag,
    "stop_timeout": _duration,
    "command": _command,
    "environment": _environment,
    "user": _user,
}
_OPTIONS = tuple(_READERS)
# The class methods by which messages are sent and received.
_CALLS = tuple(name for name, it in vars(Recipient).items() if isinstance(it, classmethod))
