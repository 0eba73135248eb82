"""`/configs`: the configuration of a namespace, whole or as changes."""

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.client_api.asking import ConfigReader
from skep.configserver.reading.instance_book import InstanceBook
from skep.configserver.reading.published import ClientConfig, Published

_INCREMENTAL = "IncrementalSync"


class ConfigsApi:
    """Answers are whole, unless a client asks for changes with `configSyncType=IncrementalSync`:
    Apollo's protocol does not negotiate, and a client that does not know incremental answers would
    read an empty configuration."""

    def __init__(self, reader: ConfigReader, published: Published, book: InstanceBook) -> None:
        self._reader = reader
        self._published = published
        self._book = book

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/configs/{app_id}/{cluster}/{namespace}", self.config)]

    async def config(self, request: Request) -> Response:
        """Answer the releases in force, or 304 if `releaseKey` says that the client has them."""
        return self.answer(request)

    def answer(self, request: Request) -> Response:
        """Return that answer. Raises as `ConfigReader.read` does."""
        asker, config = self._reader.read(request)
        self._book.note(asker, config)
        known = request.query_params.get("releaseKey", "")
        if known == config.release_key:
            return Response(status_code=304)
        head = {
            "appId": asker.app_id,
            "cluster": config.cluster,
            "namespaceName": request.path_params["namespace"],
        }
        if known and request.query_params.get("configSyncType") == _INCREMENTAL:
            changes = self._published.changes(config, known)
            if changes is not None:
                more = {"configSyncType": _INCREMENTAL, "configurationChanges": changes}
                return _json(_text({**head, "releaseKey": config.release_key, **more}))
        return _json(
            f'{_text(head)[:-1]},"configurations":{_configurations(config)},'
            f'"releaseKey":{_text(config.release_key)}}}'
        )


def _configurations(config: ClientConfig) -> str:
    """Return the configuration as JSON: that of a single release is kept in this form."""
    first, *others = config.chosen
    return _text(config.values()) if others else first.release.configurations


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")
