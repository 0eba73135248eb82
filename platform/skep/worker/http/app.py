"""One application of the routes and mounts of all plugins and of the static files, and one for each
port of their own."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from skep.api.plugin import Plugin
from skep.api.sockets.listeners import HttpListener
from skep.base.errors import PlatformError
from skep.config.options.table import Options
from skep.wire.plan import Problem
from skep.worker.http.request_hooks import Cleaning, Hooking
from skep.worker.http.wrapping import Wrapping
from skep.worker.loading.endpoints import named

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What a client on the same host would gain is less than what compressing costs.
_SMALLEST, _LEVEL = 1024, 5
_ANY = "ANY"
_PUBLIC = ".well-known"
# Stands for a route in the metrics: paths would be without number.
_FILES = SimpleNamespace(path="__static__")


class Application:
    """What the web workers serve: `app`, and in `ports` the applications of listeners that have
    their own. The caller runs the lifespans of `mounted`. `websocket_paths` are the templates of
    the plugins' own routes for WebSockets. `state` is the `request.app.state` of
    handlers."""

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
                own = declared.app
                app = own if callable(own) else _starlette(own, state)
                self.mounted.append(Mounted(f"of {name}", app))
                app = wrappings[plugin_name].wrap(_compressing(self.mounted[-1], options))
                self.ports[name] = _wrapped(app, plugins, outer)
        self.websocket_paths = [r.path for r in routes if isinstance(r, WebSocketRoute)]
        # The longest first, so that /api/v2 is not taken by /api.
        mounts.sort(key=lambda mount: len(mount.path), reverse=True)
        routing = _starlette([*routes, *mounts], state)
        if options.static:
            routing.router.default = _Static(options.static, routing.router.default)
        self.app = _wrapped(_compressing(routing, options), plugins, outer)


class _Starlette(Starlette):
    """Without the layer that answers exceptions: the edge does that."""

    def build_middleware_stack(self) -> "ASGIApp":
        return ExceptionMiddleware(self.router)


def _starlette(routes: Sequence[BaseRoute], state: State) -> Starlette:
    app = _Starlette(routes=routes)
    app.state = state
    return app


def _compressing(app: "ASGIApp", options: Options) -> "ASGIApp":
    return GZipMiddleware(app, _SMALLEST, _LEVEL) if options.compression else app


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
    """Return why these plugins cannot be served together."""
    found = clashes(plugins)
    if options.static and not Path(options.static).is_dir():
        text = f"PLATFORM_STATIC is {options.static!r}, which is not a folder."
        found.append(Problem("load", text))
    return found


def clashes(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Return a problem for each method and path, or mount, that two plugins declare."""
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
    """Return which plugin has this already; a route for any method has all methods."""
    if method in ("MOUNT", "WEBSOCKETROUTE", "HOST"):
        return owners.get((method, shape))
    for (other, path), owner in owners.items():
        if path == shape and (other == method or _ANY in (other, method)):
            return owner
    return None


def _shape(path: str) -> str:
    """Return the path without what makes no difference: names of parameters, a trailing slash."""
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


class _Static(StaticFiles):
    """Serves a folder, `index.html` for a folder in it; what is not there is left to `default`.

    Hidden files are not served, except below `.well-known`, and neither is what a symbolic link in
    the folder points to outside of it.
    """

    def __init__(self, folder: str, default: "ASGIApp") -> None:
        # The link a deployment moves is followed once, here: a generation serves one state.
        super().__init__(directory=Path(folder).resolve(), html=True)
        self._default = default

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._default(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    async def get_response(self, path: str, scope: "Scope") -> Response:
        # The path is normalised: `.` is the folder itself, a leading `..` the way out of it.
        if path != "." and any(p.startswith(".") and p != _PUBLIC for p in path.split("/")):
            raise HTTPException(404)
        return await super().get_response(path, scope)

    def file_response(self, full_path: Any, stat_result: Any, scope: Any, *more: Any) -> Response:
        scope["route"] = _FILES
        return super().file_response(full_path, stat_result, scope, *more)


class Mounted:
    """Serves an application and merges the state of its lifespan into that of each request. `where`
    names it in a sentence: `mounted at /api`."""

    def __init__(self, where: str, app: "ASGIApp") -> None:
        self._where = where
        self._app = app
        self._state: dict[str, Any] = {}

    @property
    def routes(self) -> list[Any]:
        """The routes of the application, for `url_for`."""
        routes = getattr(self._app, "routes", [])
        # Another framework may call something else so.
        return list(routes) if isinstance(routes, list | tuple) else []

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if self._state:
            scope["state"] = {**scope.get("state", {}), **self._state}
        await self._app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the application's lifespan around the block.

        Raises PlatformError when the application reports that it cannot start. An application that
        raises an exception before it answers has no lifespan and is used without one.
        """
        asked: asyncio.Queue[Message] = asyncio.Queue()
        answers: asyncio.Queue[Message] = asyncio.Queue()
        app = asyncio.create_task(self._run_lifespan(asked, answers))

        async def ask(what: str) -> "Message":
            """Return the answer, or nothing when the application ends."""
            asked.put_nowait({"type": what})
            answer = asyncio.ensure_future(answers.get())
            await asyncio.wait({answer, app}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            answer.cancel()
            return {}

        answer = await ask("lifespan.startup")
        if answer.get("type") == "lifespan.startup.failed":
            await asyncio.wait({app})
            reason = answer.get("message", "") or "it did not say why"
            raise PlatformError(f"The application {self._where} cannot start: {reason}")
        try:
            yield
        finally:
            if not app.done():
                await ask("lifespan.shutdown")
                await asyncio.wait({app}, timeout=1.0)
            app.cancel()
            await asyncio.wait({app})

    async def _run_lifespan(
        self, asked: "asyncio.Queue[Message]", answers: "asyncio.Queue[Message]"
    ) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self._state}
        with contextlib.suppress(Exception):  # the specification's way of saying: no lifespan here
            await self._app(scope, asked.get, answers.put)
