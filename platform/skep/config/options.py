"""The platform's own settings: one row each, and how a value for it is found.

A command-line flag wins over the `PLATFORM_*` key, the key over the default. The keys come from
the layered environment, so the config service can set every one of them that is not needed before
it is asked.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_origin, get_type_hints

from skep.base.errors import UsageError
from skep.base.masking import mask_url

Change = Literal["live", "rollout", "restart"]
# The app on the embedded config server, where there is no other.
_OWN_APP = "sample"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _row(default: Any, text: str, change: Change, **more: Any) -> Any:
    """Declare a setting: its default, its meaning, what a change of it takes, and see `Row`."""
    return field(default=default, metadata={"text": text, "change": change, **more})


@dataclass(frozen=True)
class Options:
    """The settings of one platform. Times are in seconds."""

    config_server: str = _row(
        "",
        "Address of an Apollo-style config service. Without it the platform starts its own.",
        "restart",
        metavar="URL",
    )
    app_id: str = _row(
        "", "The app whose configuration is followed; `sample` without --config-server.", "restart"
    )
    cluster: str = _row("default", "The cluster of the app.", "restart")
    namespace: tuple[str, ...] = _row(
        ("application",),
        "A namespace to follow; repeat it for several, later ones override earlier ones.",
        "restart",
    )
    plugins: tuple[str, ...] = _row(
        ("plugins",), "A folder with plugins; repeat it for several.", "restart", metavar="DIR"
    )
    host: str = _row("127.0.0.1", "Address on which plugins are served.", "restart")
    port: int = _row(
        5200, "Port on which plugins are served; 0 takes a free one.", "restart", high=65535
    )
    admin_port: int = _row(
        5201,
        "Port of /metrics, /healthz and /readyz, on 127.0.0.1; 0 takes a free one.",
        "restart",
        high=65535,
    )
    config_server_port: int = _row(
        5202,
        "Port of the embedded config server, on 127.0.0.1; 0 takes a free one.",
        "restart",
        high=65535,
    )
    web_workers: int = _row(0, "How many web workers; 0 means one a processor.", "live", high=1024)
    task_workers: int = _row(
        0, "How many task workers; 0 means one for two processors.", "live", high=1024
    )
    data_dir: str = _row(
        ".platform", "Where the platform keeps its state; one platform a directory.", "restart"
    )
    env_file: str = _row(
        ".env", "The file that receives the configuration, in a block of its own.", "restart"
    )
    watch: bool = _row(False, "Roll out a new generation when a plugin's code changes.", "restart")
    config_samples: str = _row(
        "config-samples",
        "Folder from which the embedded config server is filled once, as APP/CLUSTER/NAMESPACE.*",
        "restart",
        metavar="DIR",
    )
    log_level: str = _row(
        "info", "How much is logged.", "live", words=("debug", "info", "warning", "error")
    )
    log_format: str = _row(
        "auto",
        "How a log line looks; auto is text on a terminal and JSON otherwise.",
        "restart",
        words=("auto", "text", "json"),
    )
    task_concurrency: int = _row(
        16, "How many tasks one task worker runs at a time.", "rollout", flag=False, low=1
    )
    start_method: str = _row(
        "fork",
        "fork workers from one that has loaded the plugins, or spawn each to load for itself.",
        "rollout",
        flag=False,
        words=("fork", "spawn"),
    )
    loop: str = _row(
        "uvloop",
        "The event loop of the workers.",
        "rollout",
        flag=False,
        words=("uvloop", "asyncio"),
    )
    config_timeout: float = _row(
        10.0,
        "How long the first pull of the configuration may take.",
        "restart",
        flag=False,
        low=0.1,
    )
    boot_timeout: float = _row(
        60.0,
        "How long a generation may take to load and be prepared.",
        "rollout",
        flag=False,
        low=0.1,
    )
    probation: float = _row(
        30.0,
        "How long a new generation is watched; if it does not hold, the one before is put back.",
        "live",
        flag=False,
        low=0,
    )
    drain_timeout: float = _row(
        30.0, "How long a worker may take to finish what it has.", "rollout", flag=False
    )

    max_requests: int = _row(
        0,
        "After how many requests or tasks a worker is replaced, ±10 %; 0 for never.",
        "rollout",
        flag=False,
    )
    max_age: float = _row(
        0.0, "After how long a worker is replaced, ±10 %; 0 for never.", "rollout", flag=False
    )
    max_rss: int = _row(
        0,
        "With how many MiB of resident memory a worker is replaced, ±10 %; 0 for any.",
        "rollout",
        flag=False,
    )
    hang_timeout: float = _row(
        30.0,
        "How long a worker's event loop may be blocked before its stacks are logged and it is "
        "killed.",
        "rollout",
        flag=False,
        low=3,
    )
    give_up: float = _row(
        120.0,
        "How long no web worker may hold, one crash after the other, before the platform ends with "
        "exit code 7; 0 for ever.",
        "live",
        flag=False,
    )
    stop_delay: float = _row(
        0.0,
        "How long a platform that is told to stop goes on serving while /readyz says no.",
        "live",
    )
    stop_timeout: float = _row(
        0.0,
        "How long the whole stop may take; 0 for what the drains may take.",
        "live",
        flag=False,
    )

    @property
    def web_count(self) -> int:
        """How many web workers there are to be."""
        return self.web_workers or usable_cores()

    @property
    def task_count(self) -> int:
        """How many task workers there are to be."""
        return self.task_workers or max(1, usable_cores() // 2)

    def to_json(self) -> dict[str, Any]:
        """Return the options as they travel to a child."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Options":
        """Return the options that `to_json` gave."""
        fixed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items()}
        return cls(**fixed)


@dataclass(frozen=True)
class Row:
    """One setting as the command line and the reference page show it.

    `flag` is False for those that have a key only. A value is one of `words` if there are any, and
    from `low` to `high` if it is a number.
    """

    name: str
    type: Any
    default: Any
    text: str
    change: Change
    flag: bool = True
    metavar: str = ""
    words: tuple[str, ...] = ()
    low: float = 0
    high: float = float("inf")

    @property
    def key(self) -> str:
        """The key of the environment."""
        return f"PLATFORM_{self.name.upper()}"


def rows() -> list[Row]:
    """Return every setting, in the order in which they are declared."""
    types = get_type_hints(Options)
    return [Row(f.name, types[f.name], f.default, **f.metadata) for f in fields(Options)]


def resolve(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Options:
    """Return the options that follow from the command line and the layered environment.

    `flags` holds what was given on the command line, by field name. Raises UsageError naming the
    key whose text is no value of its type.
    """
    found: dict[str, Any] = {}
    for row in rows():
        if flags.get(row.name) not in (None, ()):
            found[row.name] = flags[row.name]
        elif row.key in environment:
            found[row.name] = _read(row, environment[row.key])
        _check(row, found.get(row.name, row.default))
    options = Options(**found)
    return replace(options, app_id=_app_id(options))


def changed(old: Options, new: Options) -> dict[str, Change]:
    """Return the keys of the options that differ, and what each change takes."""
    return {r.key: r.change for r in rows() if getattr(old, r.name) != getattr(new, r.name)}


def _read(row: Row, text: str) -> Any:
    if get_origin(row.type) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if row.type is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"{row.key} is {text!r}; it takes true or false.")
    try:
        return row.type(text)
    except ValueError:
        word = {"int": "a whole number", "float": "a number"}[row.type.__name__]
        raise UsageError(f"{row.key} is {text!r}; it takes {word}.") from None


def _app_id(options: Options) -> str:
    """Whoever has a config service has an app on it, and nobody else can know which."""
    if options.config_server and not options.app_id:
        raise UsageError("Whose configuration is wanted from the config server? Say --app-id.")
    return options.app_id or _OWN_APP


def _check(row: Row, value: Any) -> None:
    if row.metavar == "URL" and value and not re.match(r"https?://[^/]", value):
        text = f"{row.key} is {mask_url(value)!r}; it takes an address like http://host:8080."
        raise UsageError(text)
    if row.words and value not in row.words:
        raise UsageError(f"{row.key} is {value!r}; it takes one of: {', '.join(row.words)}.")
    if row.type in (int, float) and not row.low <= value <= row.high:
        raise UsageError(f"{row.key} is {value}; it takes a number from {row.low} to {row.high}.")
