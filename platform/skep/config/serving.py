"""The settings of where the platform is served, and how."""

from dataclasses import dataclass

from skep.config.row import row as _row


@dataclass(frozen=True)
class Serving:
    """Where clients find it, and what a WebSocket may cost."""

    host: str = _row("127.0.0.1", "Address on which plugins are served.", "rollout")
    port: int = _row(
        5200, "Port on which plugins are served; 0 takes a free one.", "rollout", high=65535
    )
    listen: tuple[str, ...] = _row(
        (),
        "HOST:PORT, [IPV6]:PORT or unix:PATH on which plugins are served, instead of --host and "
        "--port; repeat it for several.",
        "rollout",
        metavar="ADDRESS",
    )
    uds: str = _row("", "The same as --listen unix:PATH.", "rollout", metavar="PATH")
    tls_cert: str = _row(
        "",
        "Certificate chain (PEM); plugins are served over TLS then. A renewed one is taken up.",
        "rollout",
        metavar="FILE",
        machine_only=True,
    )
    tls_key: str = _row(
        "",
        "Private key (PEM) of --tls-cert; without it the key is in that file as well.",
        "rollout",
        metavar="FILE",
        machine_only=True,
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
    websocket_ping: float = _row(
        20.0,
        "How often a WebSocket is pinged, and how long its answer may take; 0: never.",
        "rollout",
        flag=False,
    )
    websocket_idle_timeout: float = _row(
        0.0,
        "How long a WebSocket may go without a message either way; 0: as long as it answers pings.",
        "rollout",
        flag=False,
    )
    websocket_message_limit: int = _row(
        2**20, "The largest message of a WebSocket, in bytes.", "rollout", flag=False, low=1
    )
    websocket_send_limit: int = _row(
        2**20,
        "How many bytes may wait for a slow WebSocket before it is closed.",
        "rollout",
        flag=False,
        low=1,
    )
