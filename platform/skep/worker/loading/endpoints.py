"""The listeners that plugins declare, in the form that the supervisor gets, and their TLS.

Certificates are read once, where the plugins are loaded. So all workers of a generation show the
same certificate, whatever is on disk when one of them is replaced, and a client may resume a
session at any of them. A new certificate takes a new generation, and an unusable one refuses it.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from skep.api.plugin import Plugin
from skep.api.sockets.listeners import HttpListener, SocketListener, TcpListener
from skep.base.errors import PluginError, UsageError
from skep.base.files import fingerprint
from skep.base.sockets.endpoint import MOST_ENDPOINTS, Endpoint, Scheme, clashes
from skep.base.sockets.tls import UnusableCertificate, server_context
from skep.config.options.endpoints import own
from skep.config.options.table import Options
from skep.wire.plan import Problem

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ENCRYPTED: Mapping[str, Scheme] = {"http": "https", "tcp": "tls"}


def named(plugins: Mapping[str, Plugin]) -> Iterator[tuple[str, str, SocketListener]]:
    """Yield plugin, name (`echo.lines`) and declaration of every listener. One without a name is
    called after what it speaks: `echo.tcp`, `echo.tcp2` …"""
    for plugin, declared in sorted(plugins.items()):
        counts: dict[str, int] = {}
        for listener in declared.sockets:
            name = listener.name or listener.scheme
            count = counts[name] = counts.get(name, 0) + 1
            suffix = str(count) if count > 1 and not listener.name else ""
            yield plugin, f"{plugin}.{name}{suffix}", listener


def _is_encrypted(listener: SocketListener) -> bool:
    return listener.tls or bool(listener.tls_cert)


def endpoints(plugins: Mapping[str, Plugin]) -> list[Endpoint]:
    """Return where the plugins want to listen."""
    return [
        Endpoint(
            name,
            host=listener.host,
            port=listener.port,
            path=listener.unix,
            scheme=_ENCRYPTED[listener.scheme] if _is_encrypted(listener) else listener.scheme,
            owner=f"plugin {plugin}",
            remedy=f"the {type(listener).__name__} of plugin {plugin}",
        )
        for plugin, name, listener in named(plugins)
    ]


def problems(plugins: Mapping[str, Plugin], options: Options) -> list[Problem]:
    """Return a problem for each listener that cannot exist on any machine."""
    found = []
    wanted = [*own(options), *endpoints(plugins)]
    for one, other in clashes(wanted):
        text = f"{other.address} ({other.name}) is wanted by {one.owner} already ({one.name})."
        found.append(Problem("listen", text, other.owner.removeprefix("plugin ")))
    names = [name for _, name, _ in named(plugins)]
    for plugin, name, _ in named(plugins):
        short = name.removeprefix(f"{plugin}.")
        if not _NAME.fullmatch(short):
            text = f"A listener is called {short!r}; a name is made of a-z, 0-9, - and _."
            found.append(Problem("listen", text, plugin))
        elif names.count(name) > 1:
            text = f"Two listeners are called {short}: name one of them otherwise."
            found.append(Problem("listen", text, plugin))
    found.extend(_without_certificate(plugins, options))
    if len(wanted) > MOST_ENDPOINTS:
        text = f"{len(wanted)} listeners are wanted; there may be {MOST_ENDPOINTS}."
        found.append(Problem("listen", text))
    return found


def _without_certificate(plugins: Mapping[str, Plugin], options: Options) -> Iterator[Problem]:
    for plugin, name, listener in named(plugins):
        if listener.tls and not listener.tls_cert and not options.tls_cert:
            text = (
                f"{name} is to be served over TLS, and there is no certificate: give the platform "
                "one with --tls-cert, or the listener its own with tls_cert."
            )
            yield Problem("listen", text, plugin)


@dataclass(frozen=True)
class Tls:
    """The TLS contexts of the `platform`'s own listeners and, by name, of those of plugins; `files`
    are the digests of the files they were made of."""

    platform: ssl.SSLContext | None = None
    listeners: Mapping[str, ssl.SSLContext] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, plugins: Mapping[str, Plugin], options: Options) -> Tls:
        """Read all certificates. Raises UsageError or PluginError naming the file that cannot be
        used."""
        declared = [
            (plugin, name, listener)
            for plugin, name, listener in named(plugins)
            if isinstance(listener, TcpListener | HttpListener)
        ]
        files = [options.tls_cert, options.tls_key]
        files += [file for _, _, one in declared for file in (one.tls_cert, one.tls_key)]
        # Before they are used: a later change is a newer state.
        digests = fingerprint.contents(os.path.abspath(file) for file in files if file)
        platform = _of_platform(options, http=True) if options.tls_cert else None
        contexts = {
            name: _of_listener(plugin, name, listener, options)
            for plugin, name, listener in declared
            if _is_encrypted(listener)
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
