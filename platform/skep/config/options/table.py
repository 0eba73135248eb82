"""The platform's own settings, one row each.

The config service can set every key that is not `machine_only`: needed before the service is
asked, or a choice of what code runs, what is read, shown or executed, as whom, and where is
written.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from skep.base.linux import usable_cores
from skep.config.options.http import HttpOptions
from skep.config.options.row import Change, OptionRow
from skep.config.options.row import row as _row
from skep.config.options.serving import Serving


@dataclass(frozen=True)
class Options(Serving, HttpOptions):
    """The settings of one platform, times in seconds; those of HTTP stand last in every list."""

    config_server: tuple[str, ...] = _row(
        (),
        "Address of an Apollo-style config service; repeat it for several, which stand in for each "
        "other in this order. Without it the platform starts its own.",
        "restart",
        metavar="URL",
        aliases=("APOLLO_CONFIG_SERVICE", "APOLLO_CONFIGSERVICE", "APOLLO_SERVER"),
        flag_alias="--apollo-server",
        machine_only=True,
    )
    config_meta: tuple[str, ...] = _row(
        (),
        "Address of a meta server that names the config servers; of no effect with "
        "--config-server.",
        "restart",
        metavar="URL",
        aliases=("APOLLO_META",),
        machine_only=True,
    )
    app_id: str = _row(
        "",
        "The app whose configuration is followed; `sample` without a config service.",
        "restart",
        aliases=("APP_ID", "APOLLO_APP_ID"),
        flag_alias="--apollo-app-id",
        machine_only=True,
    )
    cluster: str = _row(
        "default",
        "The cluster of the app.",
        "restart",
        aliases=("APOLLO_CLUSTER",),
        flag_alias="--apollo-cluster",
        machine_only=True,
    )
    data_center: str = _row(
        "",
        "The cluster in which the config service looks next.",
        "restart",
        aliases=("IDC",),
        machine_only=True,
    )
    namespace: tuple[str, ...] = _row(
        ("application",),
        "A namespace to follow; repeat it for several, later ones override earlier ones.",
        "restart",
        aliases=("APOLLO_NAMESPACES",),
        flag_alias="--apollo-namespaces",
        machine_only=True,
    )
    config_policy: str = _row(
        "cache",
        "What to start from when the config service gives nothing: require (nothing, then), cache "
        "(what was applied last) or optional (whatever there is, even nothing).",
        "restart",
        words=("require", "cache", "optional"),
    )
    offline: bool = _row(
        False,
        "Never ask a config service; start with what was applied last, or with .env as it is.",
        "restart",
        machine_only=True,
    )
    config_ip: str = _row(
        "",
        "Address by which gray releases know this machine; that of the interface that leads to the "
        "config service if it is not given.",
        "restart",
        metavar="ADDRESS",
        aliases=("APOLLO_CLIENT_IP", "host.ip"),
        flag_alias="--apollo-client-ip",
        machine_only=True,
    )
    config_label: str = _row(
        "",
        "Label by which gray releases know this machine.",
        "restart",
        aliases=("APOLLO_LABEL",),
        machine_only=True,
    )
    config_ca: str = _row(
        "",
        "File with certificates of authorities to believe, beside the known ones, that a config "
        "service is who it says.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    config_secret_file: str = _row(
        "",
        "File with the secrets that sign requests to the config service, one a line; it is read "
        "again when it changes.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    config_secret: tuple[str, ...] = _row(
        (),
        "A secret that signs requests to the config service; two while one replaces the other.",
        "restart",
        shown=False,
        flag=False,
        aliases=("APOLLO_ACCESS_KEY_SECRET", "APOLLO_ACCESSKEY_SECRET"),
        machine_only=True,
    )
    plugins: tuple[str, ...] = _row(
        ("plugins",),
        "A folder with plugins; repeat it for several.",
        "restart",
        metavar="DIR",
        machine_only=True,
    )
    kinds: tuple[str, ...] = _row(
        ("web", "task", "cron", "process"),
        "Which kinds of workers this machine runs; repeat it, or separate them by commas.",
        "rollout",
        metavar="KIND",
        words=("web", "task", "cron", "process"),
    )
    web_workers: int = _row(0, "How many web workers; 0 means one a processor.", "live", high=1024)
    task_workers: int = _row(
        0, "How many task workers; 0 means one for two processors.", "live", high=1024
    )
    data_dir: str = _row(
        ".platform",
        "Where the platform keeps its state; one platform a directory.",
        "restart",
        machine_only=True,
    )
    env_file: str = _row(
        ".env",
        "The file that receives the configuration, in a block of its own.",
        "restart",
        machine_only=True,
    )
    env: str = _row(
        "",
        "Use .env.NAME, and .env.NAME.local, in place of .env and .env.local.",
        "restart",
        metavar="NAME",
        short="-e",
        machine_only=True,
    )
    backup_old_env: bool = _row(
        False,
        "Keep the last five .env files that were replaced, as .env.bak.TIME.",
        "live",
        aliases=("APOLLO_BACKUP_OLD_ENV",),
        flag_alias="--apollo-backup-old-env",
    )
    allow_empty: bool = _row(
        False,
        "Apply a configuration that has lost all or most of its keys, which is refused otherwise.",
        "live",
    )
    config_check: str = _row(
        "",
        "A shell command that each new configuration has to pass. It is given the file that is to "
        "become .env, in place of {} or as its last argument, and as $PLATFORM_STAGED_ENV.",
        "live",
        metavar="CMD",
        machine_only=True,
    )
    config_check_timeout: float = _row(
        10.0,
        "How long the command of PLATFORM_CONFIG_CHECK may take.",
        "live",
        flag=False,
        low=0.1,
    )
    watch: bool = _row(False, "Roll out a new generation when a plugin's code changes.", "restart")
    watch_paths: tuple[str, ...] = _row(
        (),
        "A folder to watch beside the plugin folders and the Python files of the project.",
        "restart",
        metavar="DIR",
        flag=False,
    )
    watch_exclude: tuple[str, ...] = _row(
        (),
        "What is not watched: a name, a path relative to a watched folder, or an absolute one; * "
        "and ? stand for any text.",
        "restart",
        metavar="PATTERN",
        flag=False,
    )
    watch_types: tuple[str, ...] = _row(
        (),
        "The types of files to watch, like py,html; without it every file of a plugin folder, and "
        "the Python files of the project.",
        "restart",
        metavar="TYPE",
        flag=False,
    )
    config_samples: str = _row(
        "config-samples",
        "Folder from which the embedded config server is filled once, as APP/CLUSTER/NAMESPACE.*",
        "restart",
        metavar="DIR",
        machine_only=True,
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
    log_file: str = _row(
        "",
        "The file that gets the log, and what plugins print; USR1 opens it anew after a rotation.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    user: str = _row(
        "",
        "Be this user as soon as the ports are bound; takes root.",
        "restart",
        metavar="NAME",
        machine_only=True,
    )
    group: str = _row(
        "",
        "The group to be in, if it is not the user's own.",
        "restart",
        metavar="NAME",
        machine_only=True,
    )
    secret_names: tuple[str, ...] = _row(
        (),
        "Keys whose values are masked wherever something is shown, beside those with the name of a "
        "secret; * stands for any text, as in ACME_*, and commas separate them.",
        "rollout",
        flag=False,
        machine_only=True,
    )
    rlimit_nofile: int = _row(
        0,
        "How many files and connections a process may have open; 0 is as many as is allowed.",
        "restart",
        flag=False,
    )
    rlimit_core: int = _row(
        0,
        "The largest core dump, in bytes; it would hold every secret of the process.",
        "restart",
        flag=False,
        machine_only=True,
    )
    new_privileges: bool = _row(
        False,
        "Whether programs that plugins start may gain privileges (sudo, ping).",
        "restart",
        flag=False,
        machine_only=True,
    )
    task_concurrency: int = _row(
        16, "How many tasks one task worker runs at a time.", "rollout", flag=False, low=1
    )
    queues: tuple[str, ...] = _row(
        (),
        "What holds for single queues: `NAME workers=N concurrency=N rate=N/s waiting=N drain=10m "
        "cuts=N`, separated by commas.",
        "rollout",
        flag=False,
    )
    durability: str = _row(
        "full",
        "What a delivered task survives: full is the loss of power, normal the death of any "
        "process, memory nothing but the death of workers.",
        "restart",
        flag=False,
        words=("full", "normal", "memory"),
    )
    lease_time: float = _row(
        30.0,
        "How long a task worker may be silent before its tasks are given to others.",
        "restart",
        flag=False,
        low=1,
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
        low=0.1,
        aliases=("APOLLO_PULL_TIMEOUT",),
        flag_alias="--apollo-pull-timeout",
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
    def has_service(self) -> bool:
        """Whether there is a config service other than the embedded one."""
        return bool(self.config_server or self.config_meta)

    @property
    def env_path(self) -> Path:
        """The file that receives the configuration: `env_file`, with the name of `env` if any."""
        return Path(f"{self.env_file}.{self.env}" if self.env else self.env_file)

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


def rows() -> list[OptionRow]:
    """Return every setting, in the order in which they are declared, those of HTTP last."""
    types = get_type_hints(Options)
    ours = sorted(fields(Options), key=lambda f: f.name in HttpOptions.__annotations__)
    return [OptionRow(f.name, types[f.name], f.default, **f.metadata) for f in ours]


def changed(old: Options, new: Options) -> dict[str, Change]:
    """Return the keys of the options that differ, and what each change takes."""
    return {r.key: r.change for r in rows() if getattr(old, r.name) != getattr(new, r.name)}
