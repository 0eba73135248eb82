"""One application out of the routes and mounts of all plugins, and one for each port that has its
own."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Mount, Route

from skep.api.plugin import Plugin
from skep.api.sockets.listeners import HttpListener
from skep.config.options.table import Options
from skep.wire.plan import Problem
from skep.worker.http.mounted import Mounted
from skep.worker.http.request_hooks import Cleaning, Hooking
from skep.worker.http.static import Static, folder_problem
from skep.worker.http.wrapping import Wrapping
from skep.worker.loading.endpoints import named

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# What a client on the same host would gain is less than what compressing costs.
_SMALLEST, _LEVEL = 1024, 5
_ANY = "ANY"


class Application:
    """What the web workers serve: `app`, and `ports` by the name of the listener that has an
    application of its own. The caller has to run the lifespans of those `mounted` in them. `state`
    is the `request.app.state` of handlers."""

    def __init__(
        self, plugins: Mapping[str, Plugin], options: Options, state: State | None = None
    ) -> None:
        state = state or State()
        outer = Wrapping([m for p in plugins.values() for m in p.global_middleware], "all")
        self.mounted: list[Mounted] = []
        self.ports: dict[str, ASGIApp] = {}
        routes: list[BaseRoute] = []
        mounts: list[Mount] = []
        wrappings = {name: Wrapping(plugin.middleware) for name, plugin in plugins.items()}
        for name, plugin in plugins.items():
            wrapping = wrappings[name]
            routes.extend(map(wrapping.around, plugin.routes))
            for path, app in plugin.mounts.items():
                self.mounted.append(Mounted(f"mounted at {path}", app))
                mounts.append(wrapping.around(Mount(path, app=self.mounted[-1])))
        for plugin_name, name, declared in named(plugins):
            if isinstance(declared, HttpListener):
                self.mounted.append(Mounted(f"of {name}", _own(declared, state)))
                app = wrappings[plugin_name].wrap(_compressing(self.mounted[-1], options))
                self.ports[name] = _wrapped(app, plugins, outer)
        # The longest first, so that /api/v2 is not taken by /api.
        mounts.sort(key=lambda mount: len(mount.path), reverse=True)
        self.app = _wrapped(_routing([*routes, *mounts], options, state), plugins, outer)


class _Starlette(Starlette):
    """Without the layer that answers exceptions: the edge does that."""

    def build_middleware_stack(self) -> "ASGIApp":
        app: ASGIApp = ExceptionMiddleware(self.router)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return app


def _own(declared: HttpListener, state: State) -> "ASGIApp":
    if callable(declared.app):
        return declared.app
    app = _Starlette(routes=declared.app)
    app.state = state
    return app


def _compressing(app: "ASGIApp", options: Options) -> "ASGIApp":
    return GZipMiddleware(app, _SMALLEST, _LEVEL) if options.compression else app


def _routing(routes: Sequence[BaseRoute], options: Options, state: State) -> Starlette:
    compression = Middleware(GZipMiddleware, minimum_size=_SMALLEST, compresslevel=_LEVEL)
    app = _Starlette(routes=routes, middleware=[compression] if options.compression else [])
    app.state = state
    if options.static:
        app.router.default = Static(options.static, app.router.default)
    return app


def _wrapped(app: "ASGIApp", plugins: Mapping[str, Plugin], outer: Wrapping) -> "ASGIApp":
    received = [hook for plugin in plugins.values() for hook in plugin.request_received]
    generated = [hook for plugin in plugins.values() for hook in plugin.response_generated]
    cleaners = [cleaner for plugin in plugins.values() for cleaner in plugin.cleaners]
    if received or generated:
        # A hook may refuse a request by raising HTTPException.
        app = ExceptionMiddleware(Hooking(app, received, generated))
    if outer:
        app = ExceptionMiddleware(outer.wrap(app))
    return Cleaning(app, cleaners) if cleaners else app


def problems(plugins: Mapping[str, Plugin], options: Options) -> list[Problem]:
    """Return what keeps these plugins from being served together."""
    found = clashes(plugins)
    if text := folder_problem(options.static):
        found.append(Problem("load", text))
    return found


def clashes(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Return a problem for each method and path, or mount, that is wanted twice."""
    owners: dict[tuple[str, str], str] = {}
    found = []
    for name, plugin in plugins.items():
        for method, path in _claims(plugin):
            shape = _shape(path)
            first = _owner(owners, method, shape)
            owners.setdefault((method, shape), name)
            if first is not None:
                text = f"{method} {path} is a route of the plugin {first} already."
                found.append(Problem("load", text, name))
    return found


def listing(plugins: Mapping[str, Plugin]) -> list[str]:
    """Return `METHOD /path` for every route, for the plan."""
    return sorted(f"{method} {path}" for p in plugins.values() for method, path in _claims(p))


def _owner(owners: Mapping[tuple[str, str], str], method: str, shape: str) -> str | None:
    """Return who has this already; a route for any method has them all."""
    if method in ("MOUNT", "WEBSOCKETROUTE", "HOST"):
        return owners.get((method, shape))
    for (other, path), owner in owners.items():
        if path == shape and (other == method or _ANY in (other, method)):
            return owner
    return None


def _shape(path: str) -> str:
    """The path without what makes no difference: the names of its parameters, a slash in the end
    of a prefix."""
    unnamed = re.sub(r"\{\w+", "{", path).replace("{:str}", "{}")
    return unnamed.rstrip("/") or "/"


def _claims(plugin: Plugin) -> list[tuple[str, str]]:
    claims = [("MOUNT", path) for path in plugin.mounts]
    for route in plugin.routes:
        path = getattr(route, "path", "")
        if isinstance(route, Route):
            # HEAD comes with every GET by itself.
            claims.extend((m, path) for m in sorted(route.methods or {_ANY}) if m != "HEAD")
        elif isinstance(route, Mount):
            claims.append(("MOUNT", path or "/"))
        else:
            claims.append((type(route).__name__.upper(), path or getattr(route, "host", "")))
    return claims
