"""The listeners that plugins declare, as the supervisor is told of them."""

import re
from collections.abc import Iterator, Mapping

from skep.api.plugin import Plugin
from skep.api.sockets.listeners import SocketListener
from skep.base.sockets.endpoint import MOST_ENDPOINTS, Endpoint, Scheme, clashes
from skep.config.options.endpoints import own
from skep.config.options.table import Options
from skep.wire.plan import Problem

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ENCRYPTED: Mapping[str, Scheme] = {"http": "https", "tcp": "tls"}


def named(plugins: Mapping[str, Plugin]) -> Iterator[tuple[str, str, SocketListener]]:
    """Yield plugin, name (`echo.lines`) and declaration of every listener.

    One without a name is called after what it speaks: `echo.tcp`, `echo.tcp2` …
    """
    for plugin, declared in sorted(plugins.items()):
        counts: dict[str, int] = {}
        for listener in declared.sockets:
            name = listener.name or listener.scheme
            count = counts[name] = counts.get(name, 0) + 1
            suffix = str(count) if count > 1 and not listener.name else ""
            yield plugin, f"{plugin}.{name}{suffix}", listener


def is_encrypted(listener: SocketListener) -> bool:
    """Whether TLS is spoken there."""
    return listener.tls or bool(listener.tls_cert)


def endpoints(plugins: Mapping[str, Plugin]) -> list[Endpoint]:
    """Return where the plugins want to listen."""
    return [
        Endpoint(
            name,
            host=listener.host,
            port=listener.port,
            path=listener.unix,
            scheme=_ENCRYPTED[listener.scheme] if is_encrypted(listener) else listener.scheme,
            owner=f"plugin {plugin}",
            remedy=f"the {type(listener).__name__} of plugin {plugin}",
        )
        for plugin, name, listener in named(plugins)
    ]


def problems(plugins: Mapping[str, Plugin], options: Options) -> list[Problem]:
    """Return a problem for each listener that cannot be, whatever the machine says to it."""
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
