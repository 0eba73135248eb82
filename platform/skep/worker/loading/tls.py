"""The TLS of a generation: certificates are read once, where the plugins are loaded.

So all workers of a generation show the same certificate, whatever the disk holds by the time one
of them is replaced, and a client may resume at any of them a session that another has begun. A new
certificate takes a new generation, and one that cannot be used refuses it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skep.api.sockets.listeners import HttpListener, TcpListener
from skep.base.errors import PluginError, UsageError
from skep.base.files import fingerprint
from skep.base.sockets.tls import UnusableCertificate, server_context
from skep.worker.loading.endpoints import named

if TYPE_CHECKING:
    from skep.api.plugin import Plugin
    from skep.config.options.table import Options


@dataclass(frozen=True)
class Tls:
    """The contexts of the `platform`'s own listeners and of those of plugins, by name, where TLS is
    spoken; `files` is what they were made of, with the digests of that."""

    platform: ssl.SSLContext | None = None
    listeners: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, plugins: Mapping[str, Plugin], options: Options) -> Tls:
        """Read all certificates.

        Raises UsageError or PluginError naming the file that cannot be used.
        """
        declared = [
            (plugin, name, listener)
            for plugin, name, listener in named(plugins)
            if isinstance(listener, TcpListener | HttpListener)
        ]
        files = [options.tls_cert, options.tls_key]
        files += [file for _, _, one in declared for file in (one.tls_cert, one.tls_key)]
        # Before they are used: one that changes meanwhile is a newer state.
        digests = fingerprint.contents(os.path.abspath(file) for file in files if file)
        platform = _of_platform(options, http=True) if options.tls_cert else None
        contexts = {
            name: _of_listener(plugin, name, listener, options)
            for plugin, name, listener in declared
            if listener.tls or listener.tls_cert
        }
        return cls(platform, contexts, digests)


def _of_platform(options: Options, *, http: bool) -> ssl.SSLContext:
    try:
        return server_context(options.tls_cert, options.tls_key, http=http)
    except UnusableCertificate as error:
        raise UsageError(f"{error}: see --tls-cert and --tls-key.") from error


def _of_listener(
    plugin: str, name: str, listener: TcpListener | HttpListener, options: Options
) -> ssl.SSLContext:
    http = isinstance(listener, HttpListener)
    if not listener.tls_cert:
        return _of_platform(options, http=http)
    try:
        return server_context(listener.tls_cert, listener.tls_key, http=http)
    except UnusableCertificate as error:
        raise PluginError(plugin, f"{error}: see tls_cert and tls_key of {name}.") from error
