"""The paths of the API of clients, and the short way to those that are asked for all day."""

from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skep.configserver.client_api import discovery
from skep.configserver.client_api.asking import ConfigReader
from skep.configserver.client_api.config_files import ConfigFilesApi
from skep.configserver.client_api.configs import ConfigsApi
from skep.configserver.client_api.notifications import HeldPoll, NotificationsApi
from skep.configserver.http import errors
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.instance_book import InstanceBook
from skep.configserver.reading.published import Published
from skep.configserver.reading.watchers import Watchers


class ClientApi:
    """The API of clients; a poll is held for up to `hold` seconds."""

    def __init__(
        self,
        published: Published,
        gate: AccessGate,
        watchers: Watchers,
        book: InstanceBook,
        hold: float,
    ) -> None:
        reader = ConfigReader(published, gate)
        self._configs = ConfigsApi(reader, published, book)
        self._files = ConfigFilesApi(reader)
        self._notifications = NotificationsApi(published, watchers, gate, hold)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            *self._configs.routes(),
            *self._files.routes(),
            *self._notifications.routes(),
            *discovery.routes(),
        ]

    def begin(self, scope: MutableMapping[str, Any]) -> Response | HeldPoll | None:
        """Return the answer of `/configs` or `/notifications/v2` to a request, or the poll to hold;
        None for a request that has to go by the routes."""
        answer = self._short_way(scope)
        if answer is None:
            return None
        request = Request(scope)
        try:
            return answer(request)
        except errors.FORESEEN as error:
            return errors.answer(request, error)

    def _short_way(
        self, scope: MutableMapping[str, Any]
    ) -> Callable[[Request], Response | HeldPoll] | None:
        if scope["method"] != "GET":
            return None
        if scope["path"] == "/notifications/v2":
            return self._notifications.begin
        match scope["path"].split("/"):
            case ["", "configs", app_id, cluster, namespace] if app_id and cluster and namespace:
                names = {"app_id": app_id, "cluster": cluster, "namespace": namespace}
                scope["path_params"] = names
                return self._configs.answer
        return None
