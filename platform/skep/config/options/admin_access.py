"""The files that guard the admin port: its token and its certificate."""

from pathlib import Path

from skep.base.errors import UsageError
from skep.config.options.table import Options

_SHORTEST = 16


def read_token(path: str) -> str:
    """Return the token in a file, "" without a file. Raises UsageError naming the file."""
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        text = f"The token in {path} cannot be read ({error.strerror}): see --admin-token-file."
        raise UsageError(text) from error
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"{path} holds no token: --admin-token-file takes a file with one line of at least "
            f"{_SHORTEST} ASCII characters, and no space among them."
        )
    return token


def check(options: Options) -> None:
    """Raise UsageError if a file that guards the admin port cannot be used."""
    read_token(options.admin_token_file)
    if options.admin_tls_cert:
        from skep.base.sockets import tls

        try:
            tls.server_context(options.admin_tls_cert, options.admin_tls_key)
        except tls.UnusableCertificate as error:
            raise UsageError(f"{error}: see --admin-tls-cert and --admin-tls-key.") from error
