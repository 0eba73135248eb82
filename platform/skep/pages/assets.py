"""Style, script and icon: few, small, and read once."""

import functools
import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    "icon.svg": "image/svg+xml",
    "script.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}


def asset_path(prefix: str, name: str) -> str:
    """Return the path of an asset; another one after each change of it."""
    return f"{prefix}/assets/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


async def asset(request: Request) -> Response:
    """Answer an asset, which browsers may keep for a year."""
    name = request.path_params["name"]
    if name not in _TYPES:
        raise HTTPException(404, f"There is no file {name[:100]!r}.")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(_content(name), headers=headers, media_type=_TYPES[name])


@functools.cache
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
