"""The paths of the API of clients."""

from starlette.routing import Route

from skep.configserver.client_api import discovery
from skep.configserver.client_api.asking import ConfigReader
from skep.configserver.client_api.config_files import ConfigFilesApi
from skep.configserver.client_api.configs import ConfigsApi
from skep.configserver.client_api.notifications import NotificationsApi
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.instance_book import InstanceBook
from skep.configserver.reading.published import Published
from skep.configserver.reading.watchers import Watchers


def routes(
    published: Published, gate: AccessGate, watchers: Watchers, book: InstanceBook, hold: float
) -> list[Route]:
    """Return the routes of the API of clients; a poll is held for up to `hold` seconds."""
    reader = ConfigReader(published, gate)
    return [
        *ConfigsApi(reader, published, book).routes(),
        *ConfigFilesApi(reader).routes(),
        *NotificationsApi(published, watchers, gate, hold).routes(),
        *discovery.routes(),
    ]
