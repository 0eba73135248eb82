"""`/configfiles`: the same configuration as properties, as a flat JSON map, or as the raw file."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.client_api.asking import ConfigReader
from skep.configserver.model.names import file_format
from skep.configserver.model.properties import render
from skep.configserver.model.refusals import NotFound

_AT = "{app_id}/{cluster}/{namespace}"
_CHARSET = ";charset=UTF-8"
_TYPES = {
    "json": "application/json",
    "yml": "application/yaml",
    "yaml": "application/yaml",
    "xml": "application/xml",
}


class ConfigFilesApi:
    """Answers are always whole; `releaseKey` has no effect."""

    def __init__(self, reader: ConfigReader) -> None:
        self._reader = reader

    def routes(self) -> list[Route]:
        """Return the routes; the literal ones come first."""
        return [
            Route(f"/configfiles/json/{_AT}", self.as_json),
            Route(f"/configfiles/raw/{_AT}", self.raw),
            Route(f"/configfiles/{_AT}", self.as_properties),
        ]

    async def as_properties(self, request: Request) -> Response:
        """Answer the configuration as `java.util.Properties` writes it."""
        _, config = self._reader.read(request)
        return _text(render(config.values()), "text/plain")

    async def as_json(self, request: Request) -> Response:
        """Answer the configuration as one JSON object."""
        _, config = self._reader.read(request)
        answer = JSONResponse(config.values())
        answer.headers["content-type"] = f"application/json{_CHARSET}"
        return answer

    async def raw(self, request: Request) -> Response:
        """Answer the text of a file namespace with the type of its format; other namespaces as
        properties."""
        _, config = self._reader.read(request)
        kind = file_format(request.path_params["namespace"])
        if kind == "properties":
            return _text(render(config.values()), "text/plain")
        content = config.values().get("content")
        if content is None:
            raise NotFound(f"The release of {request.path_params['namespace']!r} has no content.")
        return _text(content, _TYPES.get(kind, "text/plain"))


def _text(text: str, kind: str) -> Response:
    return Response(text, headers={"content-type": f"{kind}{_CHARSET}"})
