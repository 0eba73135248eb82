"""One config server as an address: requests to it, each with a deadline for the whole answer."""

import asyncio
import ipaddress
import os
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx

from skep.base.errors import UsageError
from skep.base.masking import mask_url
from skep.config.trouble import (
    Broken,
    Declined,
    EmptyAnswer,
    Forbidden,
    NotApollo,
    TooSlow,
    Unreachable,
)

# More than this is no configuration. It also bounds what a compressed answer may unfold to.
_LARGEST_ANSWER = 32 * 1024 * 1024
_KEPT_CONNECTIONS = 8
# The connection was lost before an answer began: with a pooled one, most likely while it was idle.
_LOST = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for the server, in seconds.

    `connect` bounds the connection with its TLS handshake (a lost SYN is sent again after 1 s),
    `answer` the whole of an answer, `hold` the whole of a poll: servers hold it for up to 90 s. A
    502, a 504 or a lost connection after `proxy` is a proxy's impatience with a held poll.
    """

    connect: float = 2.0
    answer: float = 5.0
    hold: float = 120.0
    proxy: float = 25.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, and the `seconds` it took."""

    status: int
    media_type: str
    location: str
    body: bytes
    seconds: float


class Origin:
    """One server, by its base URL, which may have a path in front of Apollo's own.

    User and password in the URL are used (basic authentication) and never shown: `url` is without
    them. Nothing is opened before the first request; after `close` it may be used again. Raises
    UsageError if the URL makes no sense.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        address = _address(url)
        user = (address.username, address.password)
        self._base = address.copy_with(userinfo=b"")
        self._auth = httpx.BasicAuth(*user) if any(user) else None
        self._timeouts = timeouts
        self._client: httpx.AsyncClient | None = None
        self.url = str(self._base).rstrip("/")

    async def get(
        self, path: str, params: Mapping[str, str], patience: float, *, again: bool = True
    ) -> Answer:
        """Return the answer to a GET, whatever its status.

        It must begin within `patience` seconds and, once begun, not drip. `again` sends the
        request a second time if the connection is lost before the answer begins. Raises TooSlow,
        Unreachable or NotApollo.
        """
        start = time.perf_counter()
        try:
            async with asyncio.timeout(patience) as deadline:
                response = await self._send(path, params, again)
                try:
                    soon = asyncio.get_running_loop().time() + self._timeouts.answer
                    deadline.reschedule(min(soon, deadline.when() or soon))
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException) as error:
            connecting = isinstance(error, httpx.TimeoutException)
            seconds = self._timeouts.connect if connecting else patience
            raise TooSlow(
                f"The config server {self.url} did not answer within {seconds:g} s."
            ) from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"The config server {self.url} cannot be reached ({_cause(error)})."
            ) from error
        return Answer(
            status=response.status_code,
            media_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
            location=response.headers.get("Location", ""),
            body=body,
            seconds=time.perf_counter() - start,
        )

    def check(self, got: Answer, what: str) -> None:
        """Raise the ApolloError that an answer to a request for `what` means, unless it is good."""
        status = got.status
        if status in (401, 403):
            raise Forbidden(
                f"The config server {self.url} refuses {what} (HTTP {status}): "
                "check the credentials.",
                status,
            )
        if status >= 500:
            raise Broken(f"The config server {self.url} failed on {what} (HTTP {status}).", status)
        if status >= 400:
            raise Declined(f"The config server {self.url} declined {what} (HTTP {status}).", status)
        if status >= 300 and got.location:
            raise self.not_apollo(what, f"it redirects to {mask_url(got.location)!r:.200}")
        if status != 200:
            raise self.not_apollo(what, f"HTTP {status}")
        if got.media_type not in ("", "application/json"):
            raise self.not_apollo(what, f"its Content-Type is {got.media_type!r:.100}")

    def not_apollo(self, what: str, detail: str) -> NotApollo:
        """Return the error for an answer that no Apollo server would give."""
        return NotApollo(self._sentence(what, detail))

    def empty(self, what: str, detail: str) -> EmptyAnswer:
        """Return the error for an answer without any configuration."""
        return EmptyAnswer(self._sentence(what, detail), 200)

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _sentence(self, what: str, detail: str) -> str:
        return f"The config server {self.url} gave no Apollo answer to {what}: {detail}."

    async def _send(self, path: str, params: Mapping[str, str], again: bool) -> httpx.Response:
        client = self._connected()
        try:
            return await client.send(client.build_request("GET", path, params=params), stream=True)
        except _LOST:
            if not again:
                raise
            return await self._send(path, params, again=False)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    raise self.not_apollo("a request", f"it is over {_LARGEST_ANSWER} bytes")
        except (httpx.DecodingError, httpx.RemoteProtocolError) as error:
            raise self.not_apollo("a request", f"it is cut off or garbled ({error})") from error
        return bytes(body)

    def _connected(self) -> httpx.AsyncClient:
        """Return the client, made at the first request: that takes 40 ms if TLS is needed."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._base,
                auth=self._auth,
                verify=_trust(self._base),
                timeout=httpx.Timeout(None, connect=self._timeouts.connect),
                limits=httpx.Limits(
                    max_keepalive_connections=_KEPT_CONNECTIONS, keepalive_expiry=30.0
                ),
                # A proxy named in the environment is what operators expect to be used, except on
                # the way to this very machine, where it would only be in the way.
                trust_env=not _is_loopback(self._base.host),
                headers={"User-Agent": "skep", "Accept": "application/json"},
            )
        return self._client


def _address(url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL):
        address = httpx.URL(url.strip())
        good = address.scheme in ("http", "https") and address.host and not address.query
        if good and (address.port or 0) < 65536:
            return address.copy_with(path=address.path.rstrip("/"), fragment=None)
    # The URL itself is not shown: what cannot be read may hide a password anywhere.
    raise UsageError("The config server's URL makes no sense: it looks like http://host:8080.")


def _trust(base: httpx.URL) -> ssl.SSLContext:
    """Return whom to believe: certifi's authorities, and the system's for a company's own.

    Without TLS nobody is believed, which costs nothing and fails safe.
    """
    if base.scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _cause(error: BaseException) -> str:
    """Return what the operating system said about a failed connection, or the best there is."""
    text = str(error)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno:
            # asyncio puts "Connect call failed ('::1', 80)" in place of the system's own words.
            plain = link.errno > 0 and not isinstance(link, ssl.SSLError)
            text = os.strerror(link.errno) if plain else str(link.strerror)
        link = link.__cause__ or link.__context__
    return " ".join(text.split()).rstrip(".") or type(error).__name__
