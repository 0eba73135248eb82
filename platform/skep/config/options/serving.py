"""The settings of where the platform is served, and how."""

from dataclasses import dataclass

from skep.config.options.row import restart, rollout


@dataclass(frozen=True)
class Serving:
    """Where clients find it, and what a WebSocket may cost."""

    host: str = rollout("127.0.0.1", "Address on which plugins are served.")
    port: int = rollout(5200, "Port on which plugins are served; 0 takes a free one.", high=65535)
    listen: tuple[str, ...] = rollout(
        (),
        "HOST:PORT, [IPV6]:PORT or unix:PATH on which plugins are served, instead of --host and "
        "--port; repeat it for several.",
        metavar="ADDRESS",
    )
    uds: str = rollout("", "The same as --listen unix:PATH.", metavar="PATH")
    uds_mode: str = restart(
        "660",
        "Permissions of the unix sockets on which plugins are served, in octal; the proxy in front "
        "needs to write.",
        metavar="MODE",
        machine_only=True,
    )
    uds_group: str = restart(
        "",
        "Group of these unix sockets, for the proxy in front; the platform's user has to be in it.",
        metavar="NAME",
        machine_only=True,
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
    admin_host: str = restart(
        "127.0.0.1",
        "Address of the admin port; one that other machines can reach requires --admin-token-file "
        "or --admin-tls-cert.",
        metavar="ADDRESS",
        machine_only=True,
    )
    admin_token_file: str = restart(
        "",
        "File with the token that /metrics then requires (`Authorization: Bearer TOKEN`). Without "
        "it the probes say yes or no, and no reason.",
        metavar="FILE",
        machine_only=True,
    )
    admin_tls_cert: str = restart(
        "",
        "Certificate chain (PEM) of the admin port, which is served over TLS then. A renewed one "
        "is taken up.",
        metavar="FILE",
        machine_only=True,
    )
    admin_tls_key: str = restart(
        "",
        "Private key (PEM) of --admin-tls-cert; without it the key is in that file as well.",
        metavar="FILE",
        machine_only=True,
    )
    allowed_hosts: tuple[str, ...] = restart(
        (),
        "A name by which the admin port and the embedded config server may be asked, beside "
        "localhost and the address on which a request comes in; repeat it for several.",
        metavar="HOST",
        machine_only=True,
    )
    config_server_port: int = restart(
        5202, "Port of the embedded config server, on 127.0.0.1; 0 takes a free one.", high=65535
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
