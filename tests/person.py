"""A person who uses the portal by HTTP, as a browser without a script does."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx

from tests.configserver import RunningConfigServer

PASSWORD = "correct horse battery staple"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')
_TAG = re.compile(r"<[^>]+>")


class Person:
    """Follows redirects by hand: `status`, `location` and `html` are those of the last answer."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.status, self.location, self.html, self.csrf = 0, "", "", ""
        self.headers = httpx.Headers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()

    def get(self, path: str) -> str:
        """Load a page of the portal; return its text."""
        return self._keep(self.http.get(f"/portal{path}"))

    def send(self, path: str, **fields: str) -> str:
        """Send a form with the token of the last page; return the text of the answer."""
        return self._keep(self.http.post(f"/portal{path}", data={"csrf": self.csrf, **fields}))

    def follow(self) -> str:
        """Load the page to which the last answer leads."""
        return self._keep(self.http.get(self.location))

    def field(self, name: str) -> str:
        """Return the value of a field of the last page."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.html)
        assert found, f"the page has no field {name}"
        return html.unescape(found[1])

    def area(self) -> str:
        """Return the text of the large field of the last page."""
        found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", self.html, re.S)
        assert found, "the page has no large field"
        return html.unescape(found[1])

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Sign in."""
        self.get("/sign-in")
        self.send("/sign-in", name=name, password=password)

    def _keep(self, answer: httpx.Response) -> str:
        self.status, self.html = answer.status_code, answer.text
        self.location, self.headers = answer.headers.get("location", ""), answer.headers
        if found := _CSRF.search(self.html):
            self.csrf = found[1]
        return " ".join(html.unescape(_TAG.sub(" ", self.html)).split())


def make_first_account(server: RunningConfigServer, name: str = "ann") -> None:
    """Make the first account with the administrator's token."""
    with Person(server.url) as person:
        person.get("/first-account")
        person.send(
            "/first-account", setup=server.token, name=name, password=PASSWORD, again=PASSWORD
        )
        assert person.status == 303, person.html


@contextmanager
def signed_in(server: RunningConfigServer, name: str = "ann") -> Iterator[Person]:
    """Open a browser in which a person has signed in."""
    with Person(server.url) as person:
        person.sign_in(name)
        assert person.status == 303, person.html
        yield person
