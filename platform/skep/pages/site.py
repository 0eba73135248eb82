"""A set of pages with one layout, for people who have signed in."""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from skep.pages.accounts import Accounts
from skep.pages.assets import asset, asset_path
from skep.pages.forms import read_form
from skep.pages.refusals import PageRefused
from skep.pages.security import check_same_site
from skep.pages.sessions import Sessions
from skep.pages.templating import PageTemplates
from skep.pages.visit import Visit

# Bytes of a form without an account: a name and two passwords.
_LARGEST_OF_STRANGERS = 64 * 1024

Handler = Callable[[Visit], Awaitable[Response]]


class Link(NamedTuple):
    """A link in the navigation or in the path of a page."""

    text: str
    url: str


class PageSite:
    """What the pages below one prefix share. `largest` is the number of bytes that a form may
    have; `packages` hold the templates."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        name: str,
        prefix: str,
        packages: Sequence[str],
        navigation: Sequence[Link],
        largest: int,
    ) -> None:
        self.accounts = accounts
        self.prefix = prefix
        self.sessions = Sessions(accounts, prefix)
        self._largest = largest
        self._templates = PageTemplates(
            [*packages, "skep.pages"],
            site=name,
            home=prefix,
            navigation=navigation,
            asset=lambda file: asset_path(prefix, file),
        )

    def asset_routes(self) -> list[Route]:
        """Return the route of style, script and icon."""
        return [Route("/assets/{name}", asset)]

    def get(self, path: str, handler: Handler, *, public: bool = False) -> Route:
        """Return the route of a page. A public one needs no account."""
        return Route(path, self._endpoint(handler, public), methods=["GET"])

    def post(self, path: str, handler: Handler, *, public: bool = False) -> Route:
        """Return the route of a form: it must come from a page of ours and carry its token."""
        return Route(path, self._endpoint(handler, public), methods=["POST"])

    def page(
        self,
        visit: Visit,
        template: str,
        title: str,
        crumbs: Sequence[Link] = (),
        *,
        status: int = 200,
        **context: Any,
    ) -> Response:
        """Return a page; `crumbs` lead to it."""
        text = self._templates.render(
            template,
            title=title,
            crumbs=crumbs,
            flash=visit.session.take_flash(),
            account=visit.account,
            csrf=self.sessions.csrf(visit.session),
            here=visit.request.url.path,
            **context,
        )
        return HTMLResponse(text, status)

    def fragment(self, template: str, /, **context: Any) -> str:
        """Return a part of a page."""
        return self._templates.render(template, **context)

    def problem(self, request: Request, status: int, message: str) -> Response:
        """Return a page that says why a request was not carried out."""
        visit = self._visit(request)
        title = _TITLES.get(status, "This did not work")
        response = self.page(visit, "problem.html", title, status=status, message=message)
        self._keep(visit, response)
        return response

    @staticmethod
    def go(url: str) -> Response:
        """Return the answer to a form: go and read this page."""
        return RedirectResponse(url, 303)

    def _endpoint(self, handler: Handler, public: bool) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visit = self._visit(request)
            if request.method == "POST":
                check_same_site(request)
                most = self._largest if visit.account else _LARGEST_OF_STRANGERS
                visit.form = await read_form(request, most)
                # A body may take hours to come: who sends it may have lost the account by then.
                visit.account = self.sessions.account(visit.session)
            if visit.account is None and not public:
                return self._send_to_sign_in(request)
            if request.method == "POST":
                self._check_token(visit)
            response = await handler(visit)
            self._keep(visit, response)
            return response

        return endpoint

    def _visit(self, request: Request) -> Visit:
        session = self.sessions.read(request)
        return Visit(request, session, self.sessions.account(session))

    def _check_token(self, visit: Visit) -> None:
        given, meant = visit.form.text("csrf"), self.sessions.csrf(visit.session)
        if not hmac.compare_digest(given.encode(), meant.encode()):
            raise PageRefused(
                403,
                "The form is not from this session. Nothing was changed: load the page again, and "
                "send the form from there.",
            )

    def _send_to_sign_in(self, request: Request) -> Response:
        if request.method == "POST":
            raise PageRefused(
                401,
                "You are signed out, so nothing was saved. Sign in in another tab, then come back "
                "here, load this page again and confirm that the form is sent again.",
            )
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return self.go(f"{self.prefix}/sign-in?next={quote(target, safe='')}")

    def _keep(self, visit: Visit, response: Response) -> None:
        session = visit.session
        if not session.account_id and not session.is_changed:
            # The token of the form to sign in is that of a session.
            session.is_changed = True
        if session.is_changed:
            self.sessions.write(visit.request, response, session)


_TITLES = {
    401: "You are signed out",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Another person was faster",
}
