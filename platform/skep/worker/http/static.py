"""Files from a folder, where no plugin has a route: ETag, ranges, and no way out of the folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_PUBLIC = ".well-known"


class _Files:
    """Stands for a route in the metrics: paths would be without number."""

    path = "__static__"


class Static(StaticFiles):
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
        scope["route"] = _Files
        return super().file_response(full_path, stat_result, scope, *more)


def folder_problem(folder: str) -> str:
    """Return why a folder cannot be served, or nothing."""
    if not folder or Path(folder).is_dir():
        return ""
    return f"PLATFORM_STATIC is {folder!r}, which is no folder."
