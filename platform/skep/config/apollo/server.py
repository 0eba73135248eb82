"""One config server as an address: requests to it, each with a deadline for the whole answer."""

import asyncio
import ipaddress
import logging
import os
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx

from skep.base.errors import ConfigError, UsageError
from skep.base.logs.masking import mask_url
from skep.config.apollo.signing import AccessKey, Signer, SigningAttempts, clock_skew
from skep.config.errors import (
    Broken,
    Declined,
    EmptyAnswer,
    Forbidden,
    NotApollo,
    Throttled,
    TooSlow,
    Unreachable,
)

# The Accept-Encoding of our requests. A few kilobytes may decompress to gigabytes, so only one
# encoding is accepted, the whole is bounded, and the reader may pause after each piece.
ACCEPTED = "gzip"
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
# Bytes; no configuration is larger.
_LARGEST, _PIECE = 32 * 1024 * 1024, 256 * 1024
# zlib's own word for: a gzip or a zlib header in front, whichever it is.
_ANY_HEADER = 32 + zlib.MAX_WBITS
_KEPT_CONNECTIONS = 8
_REDIRECTS, _HOPS = (301, 302, 303, 307, 308), 3
# Report a clock that is further off than this.
_SKEW = 30.0
log = logging.getLogger(__name__)

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
class ServerAccess:
    """How servers are asked.

    `key` signs the requests, if it holds a secret. `ip` is sent as the address of this machine; if
    it is empty, that of the interface that leads to the server. `ca` is a file with certificate
    authorities to trust beside the known ones.
    """

    timeouts: Timeouts = Timeouts()
    key: AccessKey | None = None
    ip: str = ""
    ca: str = ""


@dataclass(frozen=True)
class ServerAnswer:
    """An HTTP answer. `signed` is the signed part of its request, empty without a signature."""

    status: int
    headers: httpx.Headers
    body: bytes
    signed: str

    def header(self, name: str) -> str:
        """Return the value of a header, "" without it."""
        return str(self.headers.get(name, ""))


class BadEncoding(Exception):
    """The body cannot be decompressed; the text says why, as a part of a sentence."""


class Decompressor:
    """Decompresses one body in small pieces; `coding` is its Content-Encoding, `largest` how many
    bytes it may become. Raises BadEncoding for a coding that is unknown and for more than one."""

    def __init__(self, coding: str, largest: int = _LARGEST) -> None:
        name = coding.strip().lower()
        if name not in ("", "identity", *_CODINGS):
            raise BadEncoding(f"its Content-Encoding is {coding!r:.100}; only gzip is accepted")
        self._inflater = zlib.decompressobj(_ANY_HEADER) if name in _CODINGS else None
        self._largest, self._size = largest, 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Return a chunk decompressed, in pieces of at most 256 KiB. Raises BadEncoding."""
        if self._inflater is None:
            yield self._counted(chunk)
            return
        while chunk and not self._inflater.eof:
            try:
                yield self._counted(self._inflater.decompress(chunk, _PIECE))
            except zlib.error as error:
                raise BadEncoding(f"it is garbled ({error})") from error
            chunk = self._inflater.unconsumed_tail

    def _counted(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > self._largest:
            raise BadEncoding(f"it is over {self._largest} bytes")
        return piece

    def end(self) -> None:
        """Note that the body has ended. Raises BadEncoding if a part of it is missing."""
        if self._inflater is not None and not self._inflater.eof:
            raise BadEncoding("it is cut off")


class ApolloServer:
    """One server, by its base URL, which may have a path in front of Apollo's own.

    User and password in the URL are used (basic authentication) and never shown: `url` is without
    them. The first request opens a connection, also after `close`. Raises UsageError for an invalid
    URL.
    """

    def __init__(self, url: str, access: ServerAccess) -> None:
        address = _address(url)
        user = (address.username, address.password)
        self._base = address.copy_with(userinfo=b"")
        self._auth = httpx.BasicAuth(*user) if any(user) else None
        if self._auth and access.key:
            raise UsageError(
                "The config server's URL holds a user, and there is a secret to sign with: "
                "one header cannot carry both, leave one of them out."
            )
        self._access = access
        self._timeouts = access.timeouts
        self._signer = Signer(access.key, self._base.path) if access.key else None
        self._client: httpx.AsyncClient | None = None
        self._own_ip: str | None = None
        self._active, self._retired = 0, False
        self.url = str(self._base).rstrip("/")

    async def get(
        self, path: str, params: Mapping[str, str], patience: float, *, again: bool = True
    ) -> ServerAnswer:
        """Return the answer to a GET, whatever its status.

        It must begin within `patience` seconds and, once begun, not drip. `again` sends the
        request a second time if the connection is lost before the answer begins. Raises TooSlow,
        Unreachable or NotApollo.
        """
        self._active += 1
        try:
            return await self._get(path, params, patience, again)
        except (TooSlow, Unreachable):
            # This machine may have another address by the time it gets through.
            self._own_ip = None
            raise
        finally:
            self._active -= 1
            if self._retired:
                await self.retire()

    async def _get(
        self, path: str, params: Mapping[str, str], patience: float, again: bool
    ) -> ServerAnswer:
        try:
            async with asyncio.timeout(patience) as deadline:
                response, signed = await self._ask(path, params, again)
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
        return ServerAnswer(response.status_code, response.headers, body, signed)

    def check(self, got: ServerAnswer, what: str) -> None:
        """Raise the ApolloError that an answer to a request for `what` means, unless it is 200."""
        status, pause = got.status, _pause(got)
        if status in (401, 403):
            raise Forbidden(
                f"The config server {self.url} refuses {what} (HTTP {status}): "
                f"check the credentials. {self._diagnosis(got)}",
                status,
            )
        if status == 429:
            text = f"The config server {self.url} is asked too often for {what} (HTTP 429)."
            raise Throttled(text, status, pause)
        if status >= 500:
            text = f"The config server {self.url} failed on {what} (HTTP {status})."
            raise Broken(text, status, pause)
        if status >= 400:
            raise Declined(f"The config server {self.url} declined {what} (HTTP {status}).", status)
        if status >= 300 and (url := got.header("Location")):
            raise self.not_apollo(what, f"it redirects to {mask_url(url)!r:.200}")
        if status != 200:
            raise self.not_apollo(what, f"HTTP {status}")

    def not_apollo(self, what: str, detail: str, got: ServerAnswer | None = None) -> NotApollo:
        """Return the error for an answer that no Apollo server would give; the media type of `got`
        helps to explain it."""
        media_type = got.header("Content-Type").partition(";")[0].strip().lower() if got else ""
        if media_type not in ("", "application/json"):
            detail += f" (its Content-Type is {media_type!r:.100})"
        return NotApollo(self._sentence(what, detail))

    def empty(self, what: str, detail: str) -> EmptyAnswer:
        """Return the error for an answer without any configuration."""
        return EmptyAnswer(self._sentence(what, detail), 200)

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def retire(self) -> None:
        """Close every connection after the requests in progress; there will be no others."""
        self._retired = True
        if not self._active:
            await self.close()

    def _sentence(self, what: str, detail: str) -> str:
        return f"The config server {self.url} gave no Apollo answer to {what}: {detail}."

    def _diagnosis(self, got: ServerAnswer) -> str:
        trouble = self._access.key.trouble if self._access.key else ""
        if not got.signed:
            return f"The request was not signed: {trouble or 'there is no secret'}."
        skew = clock_skew(got.header("Date"), time.time())
        clock = f" Its clock is {skew:+.0f} s from ours." if abs(skew) > _SKEW else ""
        return f"Signed was {got.signed!r}; the server must see this very path.{clock}"

    async def _ask(
        self, path: str, params: Mapping[str, str], again: bool
    ) -> tuple[httpx.Response, str]:
        """Follow redirects, signing each request, until the answer is final; return it with
        what was signed."""
        client = self._connected()
        request = client.build_request("GET", path, params=await self._with_ip(params))
        signing = self._signer.begin() if self._signer else None
        hops = 0
        while True:
            if signing:
                target = request.url.raw_path.decode("ascii")
                request.headers.update(signing.headers(target, time.time()))
            response = await self._send(client, request, again)
            date = response.headers.get("Date", "")
            if (url := self._redirected(request, response)) and hops < _HOPS:
                hops += 1
                request = client.build_request("GET", url)
            elif not (signing and response.status_code == 401 and self._again(signing, date)):
                if signing and response.status_code != 401:
                    signing.accepted()
                return response, signing.signed if signing else ""
            await response.aclose()

    def _again(self, signing: SigningAttempts, date: str) -> bool:
        known = signing.signer.offset
        found = signing.again(date, time.time())
        if signing.signer.offset != known:
            log.warning(
                "The clock of the config server %s is %+.0f s from ours, too far for a signature: "
                "requests are signed with its time. Set the clock that is wrong.",
                self.url,
                signing.signer.offset,
            )
        return found

    def _redirected(self, request: httpx.Request, response: httpx.Response) -> httpx.URL | None:
        """Return where an answer redirects to, if that is the same server, and not from TLS to
        plain HTTP."""
        if response.status_code not in _REDIRECTS or "Location" not in response.headers:
            return None
        with suppress(httpx.InvalidURL):
            url = request.url.join(response.headers["Location"])
            here, there = (
                (address.scheme, address.host, address.port) for address in (request.url, url)
            )
            upgraded = there == ("https", request.url.host, None) and request.url.port is None
            return url if here == there or upgraded else None
        return None

    async def _with_ip(self, params: Mapping[str, str]) -> dict[str, str]:
        """Add the address that the server's gray rules compare."""
        ip = self._access.ip
        if not ip:
            if self._own_ip is None:
                port = self._base.port or (443 if self._base.scheme == "https" else 80)
                patience = self._timeouts.connect
                self._own_ip = await address_towards(self._base.host, port, patience)
            ip = self._own_ip
        return {**params, "ip": ip} if ip else dict(params)

    async def _send(
        self, client: httpx.AsyncClient, request: httpx.Request, again: bool
    ) -> httpx.Response:
        try:
            return await client.send(request, stream=True)
        except _LOST:
            if not again:
                raise
            return await client.send(request, stream=True)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        try:
            decompressor = Decompressor(response.headers.get("Content-Encoding", ""))
            async for chunk in response.aiter_raw():
                for piece in decompressor.pieces(chunk):
                    body += piece
                    await asyncio.sleep(0)  # others wait for no more than one piece
            decompressor.end()
        except BadEncoding as error:
            raise self.not_apollo("a request", str(error)) from error
        except httpx.RemoteProtocolError as error:
            raise self.not_apollo("a request", f"it is cut off or garbled ({error})") from error
        return bytes(body)

    def _connected(self) -> httpx.AsyncClient:
        """Return the client; it is made at the first request, which takes 40 ms with TLS."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._base,
                auth=self._auth,
                verify=_trust(self._base, self._access.ca),
                timeout=httpx.Timeout(None, connect=self._timeouts.connect),
                limits=httpx.Limits(
                    max_keepalive_connections=_KEPT_CONNECTIONS, keepalive_expiry=30.0
                ),
                # Operators expect a proxy from the environment to be used, except for this machine.
                trust_env=not _is_loopback(self._base.host),
                headers={
                    "User-Agent": "skep",
                    "Accept": "application/json",
                    "Accept-Encoding": ACCEPTED,
                },
            )
        return self._client


async def address_towards(host: str, port: int, patience: float) -> str:
    """Return the address of the interface that leads to a host; "" if it is unknown.

    Nothing is sent: connecting a datagram socket only selects a route. `patience` is in seconds.
    """
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(patience):
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=(host, port)
            )
        try:
            name: tuple[str, int] = transport.get_extra_info("sockname")
            return name[0].partition("%")[0]
        finally:
            transport.abort()
    return ""


def _trust(base: httpx.URL, ca: str) -> ssl.SSLContext:
    """Trust certifi's authorities, the system's, and those in the file `ca`. Raises ConfigError.

    Without TLS none is trusted, which costs nothing and fails safe.
    """
    if base.scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:
            reason = error.strerror or "it holds no certificate"
            raise ConfigError(
                f"The authorities in {ca} cannot be used ({reason}): see --config-ca."
            ) from error
    return context


def _address(url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL):
        address = httpx.URL(url.strip())
        good = address.scheme in ("http", "https") and address.host and not address.query
        if good and (address.port or 0) < 65536:
            return address.copy_with(path=address.path.rstrip("/"), fragment=None)
    # Do not show the URL: it may hold a password anywhere.
    raise UsageError("The config server's URL makes no sense: it looks like http://host:8080.")


def _pause(got: ServerAnswer) -> float:
    """Return the pause in seconds that the server asks for, 0 for none."""
    text = got.header("Retry-After")
    with suppress(ValueError):
        return max(0.0, float(text))
    return max(0.0, clock_skew(text, time.time()))


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _cause(error: BaseException) -> str:
    """Return the operating system's reason for a failed connection, or the best there is."""
    text = str(error)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno:
            # asyncio puts "Connect call failed ('::1', 80)" in place of the system's own words.
            plain = link.errno > 0 and not isinstance(link, ssl.SSLError)
            text = os.strerror(link.errno) if plain else str(link.strerror)
        if isinstance(link, ssl.SSLCertVerificationError):
            text = f"{link}; whom to believe is said by --config-ca"
        link = link.__cause__ or link.__context__
    return " ".join(text.split()).rstrip(".") or type(error).__name__
