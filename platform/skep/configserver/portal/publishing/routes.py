"""The routes of the pages about publishing."""

from starlette.routing import Route

from skep.configserver.portal.context import PortalContext
from skep.configserver.portal.publishing.changes import ChangesPages
from skep.configserver.portal.publishing.requests import RequestPages
from skep.configserver.portal.publishing.rules import RulePages


def routes(context: PortalContext) -> list[Route]:
    """Return the routes."""
    return [
        *ChangesPages(context).routes(),
        *RequestPages(context).routes(),
        *RulePages(context).routes(),
    ]
