"""Where the platform listens, by its settings, and the files that guard the admin port."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from skep.base.errors import UsageError
from skep.base.sockets.endpoint import Endpoint, Scheme, clashes, is_loopback, parse
from skep.config.options.table import Options

_OWNER, _LOOPBACK = "the platform", "127.0.0.1"
_SHORTEST_TOKEN = 16


def served(options: Options) -> list[Endpoint]:
    """Return where the plugins' routes are served: `http`, `http-2` …; nowhere without web workers.
    Raises UsageError for an invalid address."""
    if "web" not in options.kinds:
        return []
    texts = [*options.listen, *([f"unix:{options.uds}"] if options.uds else [])]
    names = ["http", *(f"http-{i}" for i in range(2, len(texts) + 1))]
    found = [parse(text, name, "--listen") for text, name in zip(texts, names, strict=False)]
    simple = Endpoint("http", options.host, options.port, owner=_OWNER, remedy="--port")
    found = found or [simple]
    return [replace(each, scheme="https") for each in found] if options.tls_cert else found


def shared(options: Options, found: Iterable[Endpoint]) -> list[Endpoint]:
    """Return these listeners with the mode and the group that unix sockets get."""
    mode = int(options.uds_mode, 8)
    return [replace(each, mode=mode, group=options.uds_group) for each in found]


def admin(options: Options) -> Endpoint:
    """Return where /metrics and the probes are."""
    host, port, remedy = options.admin_host, options.admin_port, "--admin-port"
    scheme: Scheme = "https" if options.admin_tls_cert else "http"
    return Endpoint("admin", host, port, scheme=scheme, owner=_OWNER, remedy=remedy)


def config_server(options: Options) -> Endpoint:
    """Return where the embedded config server is, if it is used."""
    remedy = "PLATFORM_CONFIG_SERVER_PORT"
    return Endpoint("config", _LOOPBACK, options.config_server_port, owner=_OWNER, remedy=remedy)


def embedded(options: Options, url: str, directory: Path) -> Options:
    """Return the options that follow the embedded config server, whose files are in `directory`."""
    key = "" if options.config_server_open else str(access_key(directory))
    return replace(options, config_server=(url,), config_secret_file=key)


def access_key(directory: Path) -> Path:
    """Return the file with the keys that sign requests to the config server whose files are in
    `directory`."""
    return directory / "access-key"


def own(options: Options) -> list[Endpoint]:
    """Return all endpoints of the platform."""
    embedded = not options.has_service and not options.offline
    found = [*served(options), admin(options)]
    return [*found, config_server(options)] if embedded else found


def check(options: Options) -> None:
    """Raise UsageError when the endpoints exclude each other."""
    for one, other in clashes(own(options)):
        remedies = f"choose another with {one.remedy} or {other.remedy}"
        raise UsageError(f"{other.address} is wanted twice: {remedies}.")
    if options.tls_key and not options.tls_cert:
        raise UsageError("There is a --tls-key without a --tls-cert.")
    if options.admin_tls_key and not options.admin_tls_cert:
        raise UsageError("There is an --admin-tls-key without an --admin-tls-cert.")
    if not (is_loopback(options.admin_host) or options.admin_token_file or options.admin_tls_cert):
        raise UsageError(
            f"--admin-host is {options.admin_host!r}, where other machines can reach /metrics: it "
            "requires --admin-token-file or --admin-tls-cert."
        )


def read_token(path: str) -> str:
    """Return the token in a file, "" without a file. Raises UsageError naming the file."""
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        text = f"The token in {path} cannot be read ({error.strerror}): see --admin-token-file."
        raise UsageError(text) from error
    is_good = token.isascii() and token.isprintable() and " " not in token
    if not is_good or len(token) < _SHORTEST_TOKEN:
        raise UsageError(
            f"{path} holds no token: --admin-token-file takes a file with one line of at least "
            f"{_SHORTEST_TOKEN} ASCII characters, and no space among them."
        )
    return token


def check_admin_files(options: Options) -> None:
    """Raise UsageError if a file that guards the admin port cannot be used."""
    read_token(options.admin_token_file)
    if options.admin_tls_cert:
        from skep.base.sockets import tls

        try:
            tls.server_context(options.admin_tls_cert, options.admin_tls_key)
        except tls.UnusableCertificate as error:
            raise UsageError(f"{error}: see --admin-tls-cert and --admin-tls-key.") from error
