"""Whom to believe that a server is who it says."""

import ssl

import httpx

from skep.base.errors import ConfigError


def trust(base: httpx.URL, ca: str) -> ssl.SSLContext:
    """Return whom to believe: certifi's authorities, the system's, and those in the file `ca`.

    Without TLS nobody is believed, which costs nothing and fails safe. Raises ConfigError.
    """
    if base.scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:
            reason = error.strerror or "it holds no certificate"
            raise ConfigError(
                f"The authorities in {ca} cannot be used ({reason}): see --config-ca."
            ) from error
    return context
