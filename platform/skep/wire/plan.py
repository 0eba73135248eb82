"""What a generation consists of, or why it cannot come up: the zygote's answer."""

from dataclasses import dataclass, field
from typing import Literal

from skep.base.logs import log
from skep.base.sockets.endpoint import Endpoint

# Characters of a problem, and of its traceback, that are kept.
_LONGEST, LONGEST_TRACE = 8000, 16_000


@dataclass(frozen=True)
class Problem:
    """One reason why a generation cannot come up, written for the person who has to fix it.

    `stage` is where it was found: config, check, load, settings, listen, prepare, commit, go.
    `plugin`, `file` and `line` say where the fault lies as far as that is known; `trace` is a
    traceback, `rule` the check that a configuration did not pass, for counting.
    """

    stage: str
    message: str
    plugin: str = ""
    file: str = ""
    line: int = 0
    trace: str = ""
    rule: str = ""

    def __post_init__(self) -> None:
        """Mask and cut what may quote an exception, in the process that makes the problem and in
        each that receives it."""
        object.__setattr__(self, "message", log.excerpt(self.message, _LONGEST))
        object.__setattr__(self, "trace", log.excerpt(self.trace, LONGEST_TRACE))

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        owner = f"plugin {self.plugin}: " if self.plugin else ""
        return f"{owner}{place}{self.message}"


@dataclass(frozen=True)
class ProcessPlan:
    """What a class of custom processes declares; see `skep.api.processes.process`.

    `name` is `plugin.Class`; `after` are such names. `stop_timeout` is in seconds, None for the
    platform's own. `command` says that it runs an external program.
    """

    name: str
    num: int = 1
    enable: bool = True
    restart: Literal["always", "on_failure", "never"] = "always"
    required: bool = False
    after: tuple[str, ...] = ()
    overlap: bool = False
    stop_timeout: float | None = None
    command: bool = False

    @property
    def pool(self) -> str:
        """Its slots without their numbers: `process.ticker.Echo`."""
        return f"process.{self.name}"


@dataclass(frozen=True)
class Plan:
    """What the plugins of one state of the code declare.

    `kinds` says which kinds of workers are needed at all; how many of each is the platform's own
    setting. `live` and `fixed` are the keys of the environment that Settings classes read, those
    that may change without a rollout and the others; `secrets` are those of them that are declared
    secret. `hooks` are the hooks that any plugin has.
    `task_drain` is the longest time (seconds) that a task may go on when its worker has to go.
    `code` is the digest of the code that was loaded. `endpoints` are the listeners that plugins
    declare, `certificates` the files of those that speak TLS, with the digests of what was
    read. `warnings` are sentences about what is probably a mistake. `unforkable` is empty, or the
    reason why workers of this generation have to load for themselves.
    """

    kinds: tuple[str, ...] = ("web",)
    plugins: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    crons: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    processes: tuple[ProcessPlan, ...] = ()
    hooks: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    certificates: dict[str, str] = field(default_factory=dict)
    live: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    task_drain: float = 0.0
    code: str = ""
    warnings: tuple[str, ...] = ()
    unforkable: str = ""
    seconds: float = 0.0

    def process(self, slot: str) -> ProcessPlan | None:
        """Return what the process in a slot (`process.ticker.Echo.0`) declares."""
        pool = slot.rpartition(".")[0]
        return next((process for process in self.processes if process.pool == pool), None)
