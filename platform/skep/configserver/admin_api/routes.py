"""The paths of the admin API."""

from starlette.routing import Route

from skep.configserver.admin_api.access import AdminAccessApi
from skep.configserver.admin_api.namespaces import AdminNamespacesApi
from skep.configserver.admin_api.releases import AdminReleasesApi
from skep.configserver.http.editing_context import EditingContext

_NAMESPACE = "/apps/{app_id}/clusters/{cluster}/namespaces/{namespace}"


def routes(context: EditingContext) -> list[Route]:
    """Return the routes of the admin API."""
    return [
        *AdminNamespacesApi(context).routes(_NAMESPACE),
        *AdminReleasesApi(context).routes(_NAMESPACE),
        *AdminAccessApi(context).routes(),
    ]
