"""The settings of HTTP, part of those of the platform."""

from dataclasses import dataclass

from skep.base.sockets.listening import BACKLOG
from skep.config.options.row import rollout


@dataclass(frozen=True)
class HttpOptions:
    """How web workers serve, and what a client may cost. Times are in seconds, sizes in bytes."""

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
