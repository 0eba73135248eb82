"""The settings of where the platform is served, and how."""

from dataclasses import dataclass

from skep.config.options.row import row as _row


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
    uds_mode: str = _row(
        "660",
        "Permissions of the unix sockets on which plugins are served, in octal; the proxy in front "
        "needs to write.",
        "restart",
        metavar="MODE",
        machine_only=True,
    )
    uds_group: str = _row(
        "",
        "Group of these unix sockets, for the proxy in front; the platform's user has to be in it.",
        "restart",
        metavar="NAME",
        machine_only=True,
    )
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
        "Port of /metrics, /healthz and /readyz; 0 takes a free one.",
        "restart",
        high=65535,
    )
    admin_host: str = _row(
        "127.0.0.1",
        "Address of the admin port; one that other machines can reach requires --admin-token-file "
        "or --admin-tls-cert.",
        "restart",
        metavar="ADDRESS",
        machine_only=True,
    )
    admin_token_file: str = _row(
        "",
        "File with the token that /metrics then requires (`Authorization: Bearer TOKEN`). Without "
        "it the probes say yes or no, and no reason.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    admin_tls_cert: str = _row(
        "",
        "Certificate chain (PEM) of the admin port, which is served over TLS then. A renewed one "
        "is taken up.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    admin_tls_key: str = _row(
        "",
        "Private key (PEM) of --admin-tls-cert; without it the key is in that file as well.",
        "restart",
        metavar="FILE",
        machine_only=True,
    )
    allowed_hosts: tuple[str, ...] = _row(
        (),
        "A name by which the admin port and the embedded config server may be asked, beside "
        "localhost and the address on which a request comes in; repeat it for several.",
        "restart",
        metavar="HOST",
        machine_only=True,
    )
    config_server_port: int = _row(
        5202,
        "Port of the embedded config server, on 127.0.0.1; 0 takes a free one.",
        "restart",
        high=65535,
    )
    websocket_origins: tuple[str, ...] = _row(
        (),
        "Sites whose pages may open WebSockets beside our own, like https://shop.example; * for "
        "all. Clients that are not browsers say no origin, and are let in.",
        "rollout",
        flag=False,
        metavar="ORIGIN",
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
