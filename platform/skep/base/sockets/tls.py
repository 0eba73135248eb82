"""TLS contexts of listening sockets."""

import ssl

_HTTP = ("http/1.1",)
# Reasons of OpenSSL in plain words.
_WHY = {
    "PEM lib": "there is no PEM with a certificate and its key in it",
    "KEY_VALUES_MISMATCH": "the key is that of another certificate",
}


class UnusableCertificate(Exception):
    """The files cannot be used for TLS."""


def load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate into a context. Raises UnusableCertificate."""

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal and wait.
        raise UnusableCertificate(f"The key in {key or certificate} is protected by a passphrase")

    try:
        context.load_cert_chain(certificate, key or None, password=no_password)
    except (OSError, ssl.SSLError) as error:
        text = str(error.strerror or error.args[-1])
        why = next((plain for said, plain in _WHY.items() if said in text), text)
        files = f"{certificate} and {key}" if key else certificate
        raise UnusableCertificate(f"TLS cannot be served with {files} ({why})") from error


def server_context(certificate: str, key: str, *, http: bool = True) -> ssl.SSLContext:
    """Return a context that shows a certificate; `http` says that HTTP is spoken within.

    Raises UnusableCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if http:
        context.set_alpn_protocols(_HTTP)
    load(context, certificate, key)
    return context
