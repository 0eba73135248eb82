"""What stands for a path in metrics: there are too many paths for a label."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Mount

from skep.metrics.web import UNMATCHED


def route_template(scope: Mapping[str, Any]) -> str:
    """Return the template of the matched route, never the path."""
    route = scope.get("route")
    if route is None:
        return UNMATCHED
    root: str = scope.get("root_path", "")
    # Starlette's name for what stood there before the first mount: the prefix of a proxy.
    prefix = root[len(scope.get("app_root_path", root)) :] if root else ""
    if isinstance(route, Mount):
        return f"{prefix}/*"  # the prefix holds the mount's own path already
    return prefix + str(getattr(route, "path", ""))
