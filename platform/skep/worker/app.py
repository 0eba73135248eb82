"""One Starlette application out of the routes and mounts of all plugins."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from skep.api.plugin import Plugin
from skep.wire.plan import Problem


def build(plugins: dict[str, Plugin]) -> Starlette:
    """Return the application; routes come in the order of the plugins' names, mounts last."""
    routes: list[BaseRoute] = []
    mounts: list[BaseRoute] = []
    for plugin in plugins.values():
        routes.extend(plugin.routes)
        mounts.extend(Mount(path, app=app) for path, app in plugin.mounts.items())
    return Starlette(routes=[*routes, *mounts])


def clashes(plugins: dict[str, Plugin]) -> list[Problem]:
    """Return a problem for each method and path, or mount, that two plugins want."""
    owners: dict[tuple[str, str], str] = {}
    problems = []
    for name, plugin in plugins.items():
        for claim in _claims(plugin):
            first = owners.setdefault(claim, name)
            if first != name:
                text = f"{claim[0]} {claim[1]} is a route of the plugin {first} already."
                problems.append(Problem("load", text, name))
    return problems


def listing(plugins: dict[str, Plugin]) -> list[str]:
    """Return `METHOD /path` for every route, for the plan."""
    return sorted(f"{method} {path}" for p in plugins.values() for method, path in _claims(p))


def _claims(plugin: Plugin) -> list[tuple[str, str]]:
    claims = [("MOUNT", path) for path in plugin.mounts]
    for route in plugin.routes:
        path = getattr(route, "path", "")
        if isinstance(route, Route):
            # HEAD comes with every GET by itself.
            claims.extend((m, path) for m in sorted(route.methods or {"ANY"}) if m != "HEAD")
        else:
            claims.append((type(route).__name__.upper(), path))
    return claims
