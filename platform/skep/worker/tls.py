"""The TLS contexts of a worker.

Their files are read when they are made: a new certificate takes effect with the next generation,
and one that cannot be used refuses it.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from skep.base.errors import PlatformError

if TYPE_CHECKING:
    from skep.api.sockets import HttpListener, TcpListener
    from skep.config.options import Options

_HTTP = ("http/1.1",)


def platform_context(options: Options) -> ssl.SSLContext | None:
    """Return the context of the platform's own listeners, or None without a certificate.

    Raises PlatformError naming the file.
    """
    if not options.tls_cert:
        return None
    return _context(options.tls_cert, options.tls_key, "--tls-cert and --tls-key", _HTTP)


def listener_context(
    name: str, declared: TcpListener | HttpListener, options: Options
) -> ssl.SSLContext | None:
    """Return the context of a listener that a plugin has declared, or None if it speaks no TLS.

    Raises PlatformError naming the file.
    """
    protocols = _HTTP if declared.scheme == "http" else ()
    if declared.tls_cert:
        remedy = f"tls_cert and tls_key of {name}"
        return _context(declared.tls_cert, declared.tls_key, remedy, protocols)
    if declared.tls:
        return _context(options.tls_cert, options.tls_key, "--tls-cert and --tls-key", protocols)
    return None


def _context(certificate: str, key: str, remedy: str, protocols: tuple[str, ...]) -> ssl.SSLContext:
    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal and wait.
        text = f"The key of {key or certificate} is protected by a passphrase; give one without."
        raise PlatformError(text)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        context.set_alpn_protocols(protocols)
    try:
        context.load_cert_chain(certificate, key or None, password=no_password)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or error.args[-1]
        files = f"{certificate} and {key}" if key else certificate
        raise PlatformError(f"TLS cannot be served with {files} ({why}): see {remedy}.") from error
    return context
