"""The platform's own settings, one row each.

The config service can set every key that is not `machine_only`: needed before the service is
asked, or a choice of what code runs, what is read, shown or executed, as whom, and where is
written.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from skep.base.sockets.listening import BACKLOG
from skep.base.system.linux import usable_cores
from skep.config.options.row import Change, OptionRow, live, machine, restart, rollout


@dataclass(frozen=True)
class Options:
    """The settings of one platform, times in seconds, sizes in bytes, in the order in which lists
    show them: where it is served, what it runs, how web workers serve."""

    host: str = rollout("127.0.0.1", "Address on which plugins are served.")
    port: int = rollout(5200, "Port on which plugins are served; 0 takes a free one.", high=65535)
    listen: tuple[str, ...] = rollout(
        (),
        "HOST:PORT, [IPV6]:PORT or unix:PATH on which plugins are served, instead of --host and "
        "--port; repeat it for several.",
        metavar="ADDRESS",
    )
    uds: str = rollout("", "The same as --listen unix:PATH.", metavar="PATH")
    uds_mode: str = machine(
        "660",
        "Permissions of the unix sockets on which plugins are served, in octal; the proxy in front "
        "needs to write.",
        metavar="MODE",
    )
    uds_group: str = machine(
        "",
        "Group of these unix sockets, for the proxy in front; the platform's user has to be in it.",
        metavar="NAME",
    )
    tls_cert: str = rollout(
        "",
        "Certificate chain (PEM); plugins are served over TLS then. A renewed one is taken up.",
        metavar="FILE",
        machine_only=True,
    )
    tls_key: str = rollout(
        "",
        "Private key (PEM) of --tls-cert; without it the key is in that file as well.",
        metavar="FILE",
        machine_only=True,
    )
    admin_port: int = restart(
        5201, "Port of /metrics, /healthz and /readyz; 0 takes a free one.", high=65535
    )
    admin_host: str = machine(
        "127.0.0.1",
        "Address of the admin port; one that other machines can reach requires --admin-token-file "
        "or --admin-tls-cert.",
        metavar="ADDRESS",
    )
    admin_token_file: str = machine(
        "",
        "File with the token that /metrics then requires (`Authorization: Bearer TOKEN`). Without "
        "it the probes say yes or no, and no reason.",
        metavar="FILE",
    )
    metrics_naming: str = restart(
        "platform",
        "Names of the HTTP metrics: ours, or those of OpenTelemetry's conventions "
        "(`http_server_request_duration_seconds`).",
        words=("platform", "otel"),
    )
    tracing: str = restart(
        "off",
        "Where spans of requests, tasks, listeners, crons, rollouts and changes of the "
        "configuration are sent: nowhere, or by OTLP to the collector that OpenTelemetry's own "
        "variables name (OTEL_EXPORTER_OTLP_ENDPOINT). Requires skep[otel].",
        flag=False,
        words=("off", "otlp"),
    )
    admin_tls_cert: str = machine(
        "",
        "Certificate chain (PEM) of the admin port, which is served over TLS then. A renewed one "
        "is taken up.",
        metavar="FILE",
    )
    admin_tls_key: str = machine(
        "",
        "Private key (PEM) of --admin-tls-cert; without it the key is in that file as well.",
        metavar="FILE",
    )
    allowed_hosts: tuple[str, ...] = machine(
        (),
        "A name by which the admin port and the embedded config server may be asked, beside "
        "localhost and the address on which a request comes in; repeat it for several.",
        metavar="HOST",
    )
    config_server_port: int = restart(
        5202, "Port of the embedded config server, on 127.0.0.1; 0 takes a free one.", high=65535
    )
    config_server_open: bool = machine(
        False,
        "Let every user of this machine read what is published on the embedded config server; "
        "without it requests must be signed with a key in the data directory.",
        flag_alias="--open",
    )
    config_server_hold: float = machine(
        50.0,
        "How long the embedded config server holds a poll; most proxies give up after 60 s.",
        flag_alias="--hold",
        low=1,
        high=90,
    )
    websocket_origins: tuple[str, ...] = rollout(
        (),
        "Sites whose pages may open WebSockets beside our own, like https://shop.example; * for "
        "all. Clients that are not browsers say no origin, and are let in.",
        flag=False,
        metavar="ORIGIN",
    )
    websocket_ping: float = rollout(
        20.0,
        "How often a WebSocket is pinged, and how long its answer may take; 0: never.",
        flag=False,
    )
    websocket_idle_timeout: float = rollout(
        0.0,
        "How long a WebSocket may go without a message either way; 0: as long as it answers pings.",
        flag=False,
    )
    websocket_message_limit: int = rollout(
        2**20, "The largest message of a WebSocket, in bytes.", flag=False, low=1
    )
    websocket_send_limit: int = rollout(
        2**20,
        "How many bytes may wait for a slow WebSocket before it is closed.",
        flag=False,
        low=1,
    )
    config_server: tuple[str, ...] = machine(
        (),
        "Address of an Apollo-style config service; repeat it for several, which stand in for each "
        "other in this order. Without it the platform starts its own.",
        metavar="URL",
        aliases=("APOLLO_CONFIG_SERVICE", "APOLLO_CONFIGSERVICE", "APOLLO_SERVER"),
        flag_alias="--apollo-server",
    )
    config_meta: tuple[str, ...] = machine(
        (),
        "Address of a meta server that names the config servers; of no effect with "
        "--config-server.",
        metavar="URL",
        aliases=("APOLLO_META",),
    )
    app_id: str = machine(
        "",
        "The app whose configuration is followed; `sample` without a config service.",
        aliases=("APP_ID", "APOLLO_APP_ID"),
        flag_alias="--apollo-app-id",
    )
    cluster: str = machine(
        "default",
        "The cluster of the app.",
        aliases=("APOLLO_CLUSTER",),
        flag_alias="--apollo-cluster",
    )
    data_center: str = machine(
        "", "The cluster in which the config service looks next.", aliases=("IDC",)
    )
    namespace: tuple[str, ...] = machine(
        ("application",),
        "A namespace to follow; repeat it for several, later ones override earlier ones.",
        aliases=("APOLLO_NAMESPACES",),
        flag_alias="--apollo-namespaces",
    )
    config_policy: str = restart(
        "cache",
        "What to start from when the config service gives nothing: require (nothing, then), cache "
        "(what was applied last) or optional (whatever there is, even nothing).",
        words=("require", "cache", "optional"),
    )
    offline: bool = machine(
        False,
        "Never ask a config service; start with what was applied last, or with .env as it is.",
    )
    config_ip: str = machine(
        "",
        "Address by which gray releases know this machine; that of the interface that leads to the "
        "config service if it is not given.",
        metavar="ADDRESS",
        aliases=("APOLLO_CLIENT_IP", "host.ip"),
        flag_alias="--apollo-client-ip",
    )
    config_label: str = machine(
        "", "Label by which gray releases know this machine.", aliases=("APOLLO_LABEL",)
    )
    config_ca: str = machine(
        "",
        "File with certificates of authorities to believe, beside the known ones, that a config "
        "service is who it says.",
        metavar="FILE",
    )
    config_secret_file: str = machine(
        "",
        "File with the secrets that sign requests to the config service, one a line; it is read "
        "again when it changes.",
        metavar="FILE",
    )
    config_secret: tuple[str, ...] = machine(
        (),
        "A secret that signs requests to the config service; two while one replaces the other.",
        shown=False,
        flag=False,
        aliases=("APOLLO_ACCESS_KEY_SECRET", "APOLLO_ACCESSKEY_SECRET"),
    )
    plugins: tuple[str, ...] = machine(
        ("plugins",), "A folder with plugins; repeat it for several.", metavar="DIR"
    )
    kinds: tuple[str, ...] = rollout(
        ("web", "task", "cron", "process"),
        "Which kinds of workers this machine runs; repeat it, or separate them by commas.",
        metavar="KIND",
        words=("web", "task", "cron", "process"),
    )
    web_workers: int = live(0, "How many web workers; 0 means one a processor.", high=1024)
    task_workers: int = live(0, "How many task workers; 0 means one for two processors.", high=1024)
    data_dir: str = machine(
        ".platform", "Where the platform keeps its state; one platform a directory."
    )
    env_file: str = machine(
        ".env", "The file that receives the configuration, in a block of its own."
    )
    env: str = machine(
        "",
        "Use .env.NAME, and .env.NAME.local, in place of .env and .env.local.",
        metavar="NAME",
        short="-e",
    )
    backup_old_env: bool = live(
        False,
        "Keep the last five .env files that were replaced, as .env.bak.TIME.",
        aliases=("APOLLO_BACKUP_OLD_ENV",),
        flag_alias="--apollo-backup-old-env",
    )
    allow_empty: bool = live(
        False,
        "Apply a configuration that has lost all or most of its keys, which is refused otherwise.",
    )
    config_check: str = live(
        "",
        "A shell command that each new configuration has to pass. It is given the file that is to "
        "become .env, in place of {} or as its last argument, and as $PLATFORM_STAGED_ENV.",
        metavar="CMD",
        machine_only=True,
    )
    config_check_timeout: float = live(
        10.0, "How long the command of PLATFORM_CONFIG_CHECK may take.", flag=False, low=0.1
    )
    watch: bool = restart(False, "Roll out a new generation when a plugin's code changes.")
    watch_paths: tuple[str, ...] = restart(
        (),
        "A folder to watch beside the plugin folders and the Python files of the project.",
        metavar="DIR",
        flag=False,
    )
    watch_exclude: tuple[str, ...] = restart(
        (),
        "What is not watched: a name, a path relative to a watched folder, or an absolute one; * "
        "and ? stand for any text.",
        metavar="PATTERN",
        flag=False,
    )
    watch_types: tuple[str, ...] = restart(
        (),
        "The types of files to watch, like py,html; without it every file of a plugin folder, and "
        "the Python files of the project.",
        metavar="TYPE",
        flag=False,
    )
    config_samples: str = machine(
        "config-samples",
        "Folder from which the embedded config server is filled once, as APP/CLUSTER/NAMESPACE.*",
        metavar="DIR",
    )
    crontab: str = machine(
        "",
        "A crontab file whose commands the platform runs, with their output in the log; it is read "
        "again when it changes.",
        metavar="FILE",
    )
    cron: bool = machine(
        True,
        "Whether this machine has a timer: off leaves out the crons of plugins and the crontab.",
        flag=False,
    )
    crons: str = rollout(
        "",
        "Crons to time, add or leave out, among those that plugins define: a JSON list of "
        '`"pulse.Sweep"` or `{"class": "pulse.Beat", "schedule": "*/5 * * * *", "tz": …, '
        '"immediate": true, "enabled": true}`.',
        flag=False,
    )
    log_level: str = live(
        "info", "How much is logged.", words=("debug", "info", "warning", "error")
    )
    log_format: str = restart(
        "auto",
        "How a log line looks; auto is text on a terminal and JSON otherwise.",
        words=("auto", "text", "json"),
    )
    log_file: str = machine(
        "",
        "The file that gets the log, and what plugins print; USR1 reopens it after a rotation.",
        metavar="FILE",
    )
    user: str = machine(
        "", "Be this user as soon as the ports are bound; requires root.", metavar="NAME"
    )
    group: str = machine("", "The group to be in, if it is not the user's own.", metavar="NAME")
    secret_names: tuple[str, ...] = rollout(
        (),
        "Keys whose values are masked wherever something is shown, beside those with the name of a "
        "secret; * stands for any text, as in ACME_*, and commas separate them.",
        flag=False,
        machine_only=True,
    )
    rlimit_nofile: int = restart(
        0,
        "How many files and connections a process may have open; 0 is as many as is allowed.",
        flag=False,
    )
    rlimit_core: int = machine(
        0, "The largest core dump, in bytes; it would hold every secret of the process.", flag=False
    )
    new_privileges: bool = machine(
        False, "Whether programs that plugins start may gain privileges (sudo, ping).", flag=False
    )
    task_concurrency: int = rollout(
        16, "How many tasks one task worker runs at a time.", flag=False, low=1
    )
    queues: tuple[str, ...] = rollout(
        (),
        "What holds for single queues: `NAME workers=N concurrency=N rate=N/s waiting=N drain=10m "
        "cuts=N`, separated by commas.",
        flag=False,
    )
    durability: str = restart(
        "full",
        "What a delivered task survives: full is the loss of power, normal the death of any "
        "process, memory nothing but the death of workers.",
        flag=False,
        words=("full", "normal", "memory"),
    )
    lease_time: float = restart(
        30.0,
        "How long a task worker may be silent before its tasks are given to others.",
        flag=False,
        low=1,
    )
    start_method: str = rollout(
        "fork",
        "fork workers from one that has loaded the plugins, or spawn each to load for itself.",
        flag=False,
        words=("fork", "spawn"),
    )
    loop: str = rollout(
        "uvloop", "The event loop of the workers.", flag=False, words=("uvloop", "asyncio")
    )
    config_timeout: float = restart(
        10.0,
        "How long the first pull of the configuration may take.",
        low=0.1,
        aliases=("APOLLO_PULL_TIMEOUT",),
        flag_alias="--apollo-pull-timeout",
    )
    boot_timeout: float = rollout(
        60.0, "How long a generation may take to load and be prepared.", flag=False, low=0.1
    )
    probation: float = live(
        30.0,
        "How long a new generation is watched; if it does not hold, the one before is put back.",
        flag=False,
        low=0,
    )
    drain_timeout: float = rollout(
        30.0, "How long a worker may take to finish what it has.", flag=False
    )
    max_requests: int = rollout(
        0, "After how many requests or tasks a worker is replaced, ±10 %; 0 for never.", flag=False
    )
    max_age: float = rollout(
        0.0, "After how long a worker is replaced, ±10 %; 0 for never.", flag=False
    )
    max_rss: int = rollout(
        0,
        "With how many MiB of its own memory, without mapped files and shared tables, a worker "
        "is replaced, ±10 %; 0 for any.",
        flag=False,
    )
    hang_timeout: float = rollout(
        30.0,
        "How long a worker's event loop may be blocked before its stacks are logged and it is "
        "killed.",
        flag=False,
        low=3,
    )
    cron_hang: float = rollout(
        5.0,
        "How long one cron may block the event loop of the timer before its stack is logged and "
        "the timer is replaced.",
        flag=False,
        low=1,
    )
    give_up: float = live(
        120.0,
        "How long no web worker, or no process of a required class, may hold, one crash after the "
        "other, before the platform ends with exit code 7; 0 for ever.",
        flag=False,
    )
    stop_delay: float = live(
        0.0, "How long a stopping platform goes on serving while /readyz says no."
    )
    stop_timeout: float = live(
        0.0, "How long the whole stop may take; 0 for what the drains may take.", flag=False
    )
    http: str = rollout(
        "httptools",
        "What parses requests: httptools, which is fast, or h11, which is written in Python and "
        "stricter. The limits are the same.",
        flag=False,
        words=("httptools", "h11"),
    )
    static: str = rollout(
        "",
        "A folder whose files are served where no plugin has a route.",
        metavar="DIR",
        machine_only=True,
    )
    trusted_proxies: tuple[str, ...] = rollout(
        (),
        "Address or network of a proxy whose X-Forwarded-* headers count, `unix` for every peer on "
        "a unix socket, * for every peer; repeat it for several. From others these headers are "
        "removed.",
        metavar="NETWORK",
    )
    root_path: str = rollout(
        "",
        "The path below which a proxy shows the plugins' routes, and which it removes; "
        "X-Forwarded-Prefix of a trusted proxy wins over it.",
        metavar="PREFIX",
    )
    access_log: bool = rollout(False, "Log every request.")
    backlog: int = rollout(
        BACKLOG,
        "How many connections may wait at a listener to be accepted; the kernel's own bound is "
        "net.core.somaxconn.",
        flag=False,
        low=1,
    )
    server_header: str = rollout(
        "", "The header `Server` of every answer; empty for none.", flag=False
    )
    compression: bool = rollout(False, "Compress answers for clients that accept gzip.", flag=False)
    leak_check: bool = rollout(
        False,
        "Log which module global or class attribute a request changed; --watch does it too.",
        flag=False,
    )
    max_header_size: int = rollout(
        65536, "Bytes of a request's head; more is answered with 431.", flag=False, low=1
    )
    max_headers: int = rollout(
        100, "Headers of a request; more are answered with 431.", flag=False, low=1
    )
    max_body_size: int = rollout(
        10 * 1024 * 1024,
        "Bytes of a request's body; more is answered with 413, unless the route says otherwise.",
        flag=False,
    )
    max_connections: int = rollout(
        10_000, "Connections of one web worker; more are answered with 503.", flag=False, low=1
    )
    header_timeout: float = rollout(
        10.0, "How long a request's head may take.", flag=False, low=0.1
    )
    progress_timeout: float = rollout(
        60.0,
        "How long a client may send nothing of a body, or take nothing of an answer; and how long "
        "a handler may take to answer the handshake of a WebSocket.",
        flag=False,
        low=0.1,
    )
    keep_alive: float = rollout(
        5.0, "How long a connection is kept for its next request.", flag=False, low=0.1
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
    def kinds_here(self) -> tuple[str, ...]:
        """The kinds of workers that this machine runs."""
        return tuple(kind for kind in self.kinds if kind != "cron" or self.cron)

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
    """Return every setting, in the order in which they are declared."""
    types = get_type_hints(Options)
    return [OptionRow(f.name, types[f.name], f.default, **f.metadata) for f in fields(Options)]


def changed(old: Options, new: Options) -> dict[str, Change]:
    """Return the keys of the options that differ, and what each change takes."""
    return {r.key: r.change for r in rows() if getattr(old, r.name) != getattr(new, r.name)}
