"""The messages between the supervisor and its children, one JSON object a line.

    supervisor ─► any child     Boot Go Drain Flush Change Alone Trace
    supervisor ─► zygote        Become Fork
    supervisor ─► a worker      Happened Deliver CronOrder
    any child  ─► supervisor    Hello Prepared Accepting Failed HandedOver
                                Beat MetricFrame Flushed Changed Retire Noted
                                Traced Delivered CronAnswer
    zygote     ─► supervisor    Planned LoadFailed Exited
    agent      ─► supervisor    RolloutAsked Reported NoConfiguration
    store      ─► supervisor    Troubled
    schedule   ─► supervisor    Troubled Scheduled

JSON, because the supervisor is the standard library alone. A message may carry file descriptors
(`Go`: the listeners; `Fork`: the new worker's end of its channel); `fds` says how many.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from skep.base.errors import InternalError
from skep.base.sockets.endpoint import Endpoint
from skep.wire.plan import Plan, Problem, ProcessPlan


@dataclass(frozen=True)
class Boot:
    """The first message to a child: what it is. `facts` are the arguments of hooks."""

    slot: str
    kind: str
    generation: int
    run_id: str
    options: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Become:
    """To a child of the nursery: become a zygote with this environment, and send Hello."""

    environment: dict[str, str]


@dataclass(frozen=True)
class Go:
    """Accept on the descriptors that come with this; `listeners` names them in their order."""

    listeners: list[str] = field(default_factory=list)
    handover: dict[str, Any] = field(default_factory=dict)
    fds: int = 0


@dataclass(frozen=True)
class Drain:
    """Take no new work, finish the rest within so many seconds, then end. `replaced` says that a
    new generation has a worker in the same slot."""

    seconds: float
    replaced: bool = False


@dataclass(frozen=True)
class Alone:
    """The predecessor in this slot has ended, with all its work."""


@dataclass(frozen=True)
class _Numbered:
    """A question to a child, or the answer, which has the same number."""

    number: int


@dataclass(frozen=True)
class Flush(_Numbered):
    """Send the metrics now, then answer Flushed."""


@dataclass(frozen=True)
class Change(_Numbered):
    """Other values of these keys of the environment; None removes a key.

    With `apply` False it asks whether that is possible without a new process; with True it applies
    them. `log_level` is the platform's own, empty when it does not change.
    """

    values: dict[str, str | None]
    apply: bool
    log_level: str = ""


@dataclass(frozen=True)
class Changed(_Numbered):
    """The answer to a Change: it is possible, or applied; or the objection."""

    apply: bool
    objection: str = ""


@dataclass(frozen=True)
class Trace(_Numbered):
    """Trace the memory for so many seconds, then answer Traced with the `top` lines of source whose
    allocations of that time are not freed."""

    seconds: float
    top: int


@dataclass(frozen=True)
class Traced(_Numbered):
    """What has grown: per line of source `{file, line, bytes, blocks}`, the most first. `resident`
    is the memory of the process before and after, in bytes."""

    growth: list[dict[str, Any]]
    resident: list[int]


@dataclass(frozen=True)
class Fork:
    """Zygote: fork a worker, and give it the one descriptor that comes with this as its channel."""

    slot: str
    fds: int = 1


@dataclass(frozen=True)
class Happened(_Numbered):
    """Fire this event of the platform (see `skep.api.tasks.platform_events`), then answer Noted."""

    event: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Noted(_Numbered):
    """The event with this number is in the engine, or no plugin listens to it."""


@dataclass(frozen=True)
class Deliver(_Numbered):
    """Deliver a task, or fire an event, for a command, then answer Delivered. `values` are one JSON
    object of its fields, or the fields one by one; `terms` those of `Task.deliver` or
    `Event.fire`."""

    what: Literal["task", "event"]
    name: str
    values: list[str]
    terms: dict[str, Any]


@dataclass(frozen=True)
class Delivered(_Numbered):
    """The receipt of a delivery, without an id if no plugin listens to the event; or why it is
    refused, a sentence in `refusal` and a word for scripts in `code`."""

    id: str = ""
    duplicate: bool = False
    refusal: str = ""
    code: str = ""


@dataclass(frozen=True)
class CronOrder(_Numbered):
    """To the timer: run a cron now, stop it, or let it be due again; then answer CronAnswer."""

    verb: Literal["run", "stop", "start"]
    name: str


@dataclass(frozen=True)
class CronAnswer(_Numbered):
    """What was done, as a sentence; or why it is refused, a sentence in `refusal` and a word for
    scripts in `code`."""

    sentence: str = ""
    refusal: str = ""
    code: str = ""


@dataclass(frozen=True)
class Hello:
    """A child runs and reads its channel. Files in memory may come with this: to the first it
    writes its stacks on request and when it crashes, the second is the page of its counters."""

    pid: int
    fds: int = 0


@dataclass(frozen=True)
class Prepared:
    """Loaded and started, but not listening."""


@dataclass(frozen=True)
class Accepting:
    """Listening."""


@dataclass(frozen=True)
class Failed:
    """The child could not be prepared or could not listen; it ends by itself."""

    problem: Problem


@dataclass(frozen=True)
class HandedOver:
    """The child takes no new work; `state` is for its successor in the slot."""

    state: dict[str, Any]


@dataclass(frozen=True)
class Beat:
    """The child's event loop runs; `lag` is how late it was, in seconds. `unready` is why a plugin
    wants no requests now, empty if it does; `trouble` is what does not work although the child
    serves."""

    lag: float
    unready: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Retire:
    """The child asks to be replaced, because it is worn out; it works on until it is drained.
    `reason` is a word for the metrics, `detail` a phrase for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class MetricFrame:
    """Metric deltas; see `skep.metrics.frames`."""

    frame: dict[str, Any]


@dataclass(frozen=True)
class Flushed(_Numbered):
    """All frames up to this Flush are sent."""


@dataclass(frozen=True)
class Planned:
    """The zygote has loaded everything."""

    plan: Plan


@dataclass(frozen=True)
class LoadFailed:
    """The zygote could not load everything; it ends by itself. `secrets` are the keys that were
    declared secret by what was loaded."""

    problems: list[Problem]
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exited:
    """A worker that the zygote forked has ended; `status` is that of os.waitpid."""

    pid: int
    status: int


@dataclass(frozen=True)
class RolloutAsked:
    """The agent asks for a rollout.

    `cause` is config or code. `snapshot` is the path of the staged candidate, empty for the one in
    force; `code` the digest of the code as it is now. `problems` were found without loading
    anything (a syntax error); the rollout is refused with them at once. `notified` and `pulled` are
    when the config server announced it and when it was pulled, in epoch seconds, or 0.
    """

    cause: str
    reason: str
    snapshot: str = ""
    code: str = ""
    problems: list[Problem] = field(default_factory=list)
    notified: float = 0.0
    pulled: float = 0.0


@dataclass(frozen=True)
class Reported:
    """The agent's connection to the config server, for `platform status`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class Troubled:
    """What is wrong with a platform slot that serves, for `platform status`; empty if nothing is.
    It is the case until the next such message from the slot, whatever process fills it."""

    reasons: list[str]


@dataclass(frozen=True)
class Scheduled:
    """The crontab in force and the state of its commands, for `platform status`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class NoConfiguration:
    """The agent has no configuration to start with; `code` is the exit status."""

    reason: str
    code: int


Message = (
    Boot | Become | Go | Drain | Alone | Flush | Change | Changed | Trace | Traced | Fork
    | Happened | Noted | Deliver | Delivered | CronOrder | CronAnswer | Hello | Prepared | Accepting
    | Failed | HandedOver | Beat | Retire | MetricFrame | Flushed | Planned | LoadFailed | Exited
    | RolloutAsked | Reported | Troubled | Scheduled | NoConfiguration
)  # fmt: skip

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


class ProtocolError(InternalError):
    """The other side sent something that is not a message of ours."""

    text: ClassVar[str] = "A message could not be understood"


def encode(message: Message) -> bytes:
    """Return the message as one line, its newline included."""
    body = {"m": type(message).__name__, **dataclasses.asdict(message)}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message in the line. Raises ProtocolError when there is none."""
    try:
        body = json.loads(line)
        kind = _KINDS[body.pop("m")]
        for name, build in _NESTED.get(kind.__name__, {}).items():
            body[name] = build(body[name])
        return kind(**body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"{ProtocolError.text}: {error!r} in {line[:80]!r}") from error


def _problems(values: list[dict[str, Any]]) -> list[Problem]:
    return [Problem(**value) for value in values]


def _plan(value: dict[str, Any]) -> Plan:
    fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    endpoints = tuple(Endpoint(**endpoint) for endpoint in fixed.get("endpoints", ()))
    processes = tuple(
        ProcessPlan(**{**process, "after": tuple(process["after"])})
        for process in fixed.get("processes", ())
    )
    return Plan(**{**fixed, "endpoints": endpoints, "processes": processes})


_NESTED: dict[str, dict[str, Any]] = {
    "Failed": {"problem": lambda value: Problem(**value)},
    "LoadFailed": {"problems": _problems},
    "Planned": {"plan": _plan},
    "RolloutAsked": {"problems": _problems},
}
