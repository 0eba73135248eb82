"""One request of a person."""

from dataclasses import dataclass, field

from starlette.requests import Request

from skep.pages.accounts import Account
from skep.pages.forms import PageForm, whole
from skep.pages.sessions import PageSession


@dataclass(slots=True)
class Visit:
    """A request with its session; `account` is who has signed in, `form` what was sent."""

    request: Request
    session: PageSession
    account: Account | None
    form: PageForm = field(default_factory=PageForm)

    @property
    def origin(self) -> str:
        """The network address of the browser."""
        return self.request.client.host if self.request.client else ""

    @property
    def name(self) -> str:
        """The name of who has signed in; empty without."""
        return self.account.name if self.account else ""

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """Return a parameter; empty without."""
        return self.request.query_params.get(name, "")

    def number(self, name: str, default: int | None = None) -> int:
        """Return a parameter that is a whole number. Raises PageRefused for another."""
        return whole(self.query(name), name, default)
