"""The paths of the Open API."""

from starlette.routing import Route

from skep.configserver.http.editing_context import EditingContext
from skep.configserver.open_api.apps import AppsApi
from skep.configserver.open_api.branches import BranchesApi
from skep.configserver.open_api.items import ItemsApi
from skep.configserver.open_api.policies import PoliciesApi
from skep.configserver.open_api.publish_requests import PublishRequestsApi
from skep.configserver.open_api.releases import ReleasesApi

_ROOT = "/openapi/v1"
_ENVIRONMENT = f"{_ROOT}/envs/{{env}}"
_NAMESPACE = f"{_ENVIRONMENT}/apps/{{app_id}}/clusters/{{cluster}}/namespaces/{{namespace}}"


def routes(context: EditingContext) -> list[Route]:
    """Return the routes of the Open API; every call needs a token."""
    return [
        *AppsApi(context).routes(_ROOT, _ENVIRONMENT, _NAMESPACE),
        *ItemsApi(context).routes(_NAMESPACE),
        *PoliciesApi(context).routes(_NAMESPACE),
        *PublishRequestsApi(context).routes(_ENVIRONMENT, _NAMESPACE),
        *ReleasesApi(context).routes(_ENVIRONMENT, _NAMESPACE),
        *BranchesApi(context).routes(_NAMESPACE),
    ]
