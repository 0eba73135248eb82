"""The portal below its prefix."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from skep.configserver.http.editing_context import EditingContext
from skep.configserver.http.token_guard import ROOT
from skep.configserver.portal.access import AccessPages
from skep.configserver.portal.catalogue import CataloguePages
from skep.configserver.portal.context import PortalContext
from skep.configserver.portal.gray import GrayPages
from skep.configserver.portal.history import HistoryPages
from skep.configserver.portal.instances import InstancePages
from skep.configserver.portal.items import ItemPages
from skep.configserver.portal.paths import HOME, PREFIX
from skep.configserver.portal.people import PeoplePages
from skep.configserver.portal.publishing import routes as publishing
from skep.configserver.portal.refusals import handlers
from skep.configserver.portal.search import SearchPages
from skep.configserver.portal.texts import TextPages
from skep.configserver.reading.watchers import Watchers
from skep.pages.accounts import Accounts
from skep.pages.security import SecurityHeaders
from skep.pages.sign_in import SignInPages
from skep.pages.site import Link, PageSite

_NAVIGATION = (
    Link("Apps", HOME),
    Link("Search", f"{PREFIX}/search"),
    Link("Audit", f"{PREFIX}/audit"),
    Link("Tokens", f"{PREFIX}/tokens"),
    Link("Accounts", f"{PREFIX}/accounts"),
)


def portal(
    accounts: Accounts, token: str
) -> Callable[[EditingContext, Watchers], Sequence[BaseRoute]]:
    """Return what makes the routes of the portal. Who has the administrator's token may make the
    first account."""
    return lambda context, watchers: _routes(context, watchers, accounts, token)


def _routes(
    context: EditingContext, watchers: Watchers, accounts: Accounts, token: str
) -> list[BaseRoute]:
    site = PageSite(
        accounts,
        name="Config server",
        prefix=PREFIX,
        packages=["skep.configserver.portal"],
        navigation=_NAVIGATION,
        largest=context.desk.items.limits.body,
    )
    desk = PortalContext(site, context, watchers)

    running = InstancePages(desk)
    sign_in = SignInPages(site, token, ROOT, desk.record_account)
    app = Starlette(
        routes=[
            *site.asset_routes(),
            *sign_in.routes(),
            *PeoplePages(desk, sign_in.passwords).routes(),
            *SearchPages(desk).routes(),
            *AccessPages(desk).routes(),
            *CataloguePages(desk).routes(),
            *TextPages(desk).routes(),
            *publishing.routes(desk),
            *HistoryPages(desk).routes(),
            *running.routes(),
            *GrayPages(desk, running).routes(),
            *ItemPages(desk).routes(),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers=handlers(site),
    )
    return [Route("/", _home), Mount(PREFIX, app)]


async def _home(request: Request) -> Response:
    return RedirectResponse(HOME)
