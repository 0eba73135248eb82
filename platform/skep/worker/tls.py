"""The TLS context of a worker."""

import ssl

from skep.base.errors import PlatformError


def server_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Return a context with this certificate chain, or None without one.

    The files are read now: a new certificate takes effect with the next generation, and one that
    cannot be used refuses it. Raises PlatformError naming the file.
    """
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or error.args[-1]
        files = f"{certificate} and {key}" if key else certificate
        text = f"TLS cannot be served with {files} ({why}): see --tls-cert and --tls-key."
        raise PlatformError(text) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal and wait.
    raise PlatformError("The key of --tls-cert is protected by a passphrase; give one without.")
