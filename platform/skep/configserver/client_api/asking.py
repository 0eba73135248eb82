"""Who asks, and whether they may: what all requests of clients have in common."""

from starlette.requests import Request

from skep.configserver.http import requests
from skep.configserver.model.instances import Asker
from skep.configserver.model.refusals import NotFound
from skep.configserver.reading.access_gate import AccessGate
from skep.configserver.reading.published import ClientConfig, Published


class ConfigReader:
    """Reads the configuration that a request asks for, if its signature allows that."""

    def __init__(self, published: Published, gate: AccessGate) -> None:
        self._published = published
        self._gate = gate

    def read(self, request: Request) -> tuple[Asker, ClientConfig]:
        """Return who asks for what. Raises NotFound if nothing is published, InvalidRequest for an
        app id that is not legal, and SignatureRefused."""
        path = request.path_params
        app_id = requests.app_id(path["app_id"])
        self._gate.check(app_id, requests.signed(request))
        asker = Asker(
            app_id,
            path["cluster"],
            request.query_params.get("dataCenter", ""),
            request.query_params.get("ip") or _sender(request),
            request.query_params.get("label", ""),
        )
        config = self._published.config(asker, path["namespace"])
        if config is None:
            raise NotFound(
                f"The app {app_id!r} has no published release of the namespace "
                f"{path['namespace']!r} in {asker.cluster!r}, its data center or 'default'."
            )
        return asker, config


def _sender(request: Request) -> str:
    forwarded = request.headers.get("x-forwarded-for", "").partition(",")[0].strip()
    return forwarded or (request.client.host if request.client else "")
