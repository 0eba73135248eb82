"""The addresses of the portal's pages."""

from urllib.parse import quote, urlencode

from skep.configserver.model.names import Address
from skep.pages.site import Link

PREFIX = "/portal"
HOME = f"{PREFIX}/"


def app_path(app_id: str, *more: str) -> str:
    """Return the path of an app's page, or of one below it."""
    return "/".join((PREFIX, "apps", *(quote(part, safe="") for part in (app_id, *more))))


def namespace_path(at: Address, *more: str) -> str:
    """Return the path of a namespace's page, or of one below it."""
    return app_path(at.app_id, at.cluster, at.namespace, *more)


def with_query(path: str, **query: str | int) -> str:
    """Return a path with parameters."""
    return f"{path}?{urlencode(query)}"


def app_crumbs(app_id: str) -> list[Link]:
    """Return the links that lead to a page below an app."""
    return [Link("Apps", HOME), Link(app_id, app_path(app_id))]


def namespace_crumbs(at: Address) -> list[Link]:
    """Return the links that lead to a page below a namespace."""
    name = f"{at.namespace} in {at.cluster}"
    return [*app_crumbs(at.app_id), Link(name, namespace_path(at))]
