"""Writing to a config server: the few calls of Apollo's Open API that the platform needs."""

import base64
import re
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import httpx

from skep.base.errors import ConfigError
from skep.base.logs.masking import mask_url
from skep.config.apollo.server import ACCEPTED, BadEncoding, Decompressor

_TIMEOUT = 10.0
# Any other key travels in Base64: proxies and Apollo's own firewall refuse an escaped `/`, `\`,
# `%` or `;` in a path. These do not, because older portals know no Base64.
_PLAIN_KEY = re.compile(r"[0-9a-zA-Z_-][0-9a-zA-Z_.-]*")
# The variables that name a proxy are meant for the way out, never for the way to this machine.
_OWN_MACHINE = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_LONGEST_REASON = 300
_ABSENT = 404
_HEADERS = {"Accept-Encoding": ACCEPTED}


@dataclass(frozen=True, slots=True)
class PublishedRelease:
    """A release in the Open API, which does not show its release key."""

    id: int
    name: str
    configurations: dict[str, str]


class OpenApiClient:
    """A client of Apollo's portal or of the embedded config server; synchronous, for any thread.

    `base_url` comes before `/openapi`. Every method raises ConfigError, with the URL and the
    server's reason, when the server cannot be reached or refuses; so does the constructor for a
    token that no header can hold.
    """

    def __init__(self, base_url: str, token: str, env: str = "DEV") -> None:
        if not (token.isascii() and token.isprintable()):
            # Check here, because the HTTP client would show the token in its error.
            raise ConfigError("The config server's token may hold printable ASCII only.")
        self._api = f"{base_url.rstrip('/')}/openapi/v1"
        self._root = f"{self._api}/envs/{quote(env, safe='')}"
        self._token = token
        self._client = httpx.Client(
            timeout=_TIMEOUT, mounts=dict.fromkeys(_OWN_MACHINE), auth=self._authorize
        )

    def __enter__(self) -> Self:
        """Keep connections open within the block."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections for good."""
        self._client.close()

    def set_item(
        self, app_id: str, cluster: str, namespace: str, key: str, value: str, operator: str
    ) -> None:
        """Create or change one item; clients see it after `publish`."""
        try:
            (key + value).encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"The item {key!r} cannot be written: it is not Unicode.") from error
        item = {
            "key": key,
            "value": value,
            "dataChangeCreatedBy": operator,
            "dataChangeLastModifiedBy": operator,
        }
        url = f"{self._namespace(app_id, cluster, namespace)}/{_key_path(key)}"
        self._call("PUT", f"{url}?createIfNotExists=true", item)

    def delete_item(
        self, app_id: str, cluster: str, namespace: str, key: str, operator: str
    ) -> None:
        """Delete one item, as clients see after `publish`. Raises ConfigError if it is missing."""
        url = f"{self._namespace(app_id, cluster, namespace)}/{_key_path(key)}"
        self._call("DELETE", f"{url}?operator={quote(operator, safe='')}")

    def publish(
        self, app_id: str, cluster: str, namespace: str, title: str, operator: str
    ) -> PublishedRelease:
        """Publish the items of the namespace; return their release."""
        url = f"{self._namespace(app_id, cluster, namespace)}/releases"
        answer = self._call("POST", url, {"releaseTitle": title, "releasedBy": operator})
        return _release(url, answer)

    def latest_release(self, app_id: str, cluster: str, namespace: str) -> PublishedRelease | None:
        """Return the release in force, or None if nothing is published there."""
        url = f"{self._namespace(app_id, cluster, namespace)}/releases/latest"
        answer = self._call("GET", url)
        return _release(url, answer) if answer.content else None

    def items(self, app_id: str, cluster: str, namespace: str) -> dict[str, str] | None:
        """Return the items that the next release would have, or None without the namespace."""
        url = self._namespace(app_id, cluster, namespace)
        answer = self._call("GET", url, absent=True)
        return None if answer.status_code == _ABSENT else _items(url, answer)

    def release_faults(self, app_id: str, cluster: str, namespace: str) -> list[str]:
        """Return the rules of the namespace that a publish would break; none where the server knows
        no rules, as Apollo's."""
        url = f"{self._namespace(app_id, cluster, namespace)}/release-check"
        answer = self._call("GET", url, absent=True)
        return [] if answer.status_code == _ABSENT else _faults(url, answer)

    def _namespace(self, app_id: str, cluster: str, namespace: str) -> str:
        names = (quote(name, safe="") for name in (app_id, cluster, namespace))
        return self._root + "/apps/{}/clusters/{}/namespaces/{}".format(*names)

    def _call(
        self, method: str, url: str, body: dict[str, Any] | None = None, *, absent: bool = False
    ) -> httpx.Response:
        """Return the answer; one that says that the thing is missing only if `absent`."""
        try:
            with self._client.stream(method, url, json=body, headers=_HEADERS) as response:
                answer = _read(response)
        except BadEncoding as error:
            raise ConfigError(
                f"What answers at {mask_url(url)} cannot be read: {error}."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = mask_url(str(error)) or type(error).__name__
            raise ConfigError(
                f"The config server cannot be reached at {mask_url(url)}: {reason}."
            ) from error
        if not (answer.is_success or (absent and answer.status_code == _ABSENT)):
            raise ConfigError(
                f"The config server refused {method} {mask_url(url)} with status "
                f"{answer.status_code}: {_reason(answer)}"
            )
        return answer

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        # As `auth`, because otherwise credentials in the URL would take the header's place.
        request.headers["Authorization"] = self._token
        return request


def _read(response: httpx.Response) -> httpx.Response:
    """Return the answer with its whole body, decompressed within bounds. Raises BadEncoding."""
    decompressor = Decompressor(response.headers.get("Content-Encoding", ""))
    body = b"".join(piece for chunk in response.iter_raw() for piece in decompressor.pieces(chunk))
    decompressor.end()
    kept = {k: v for k, v in response.headers.items() if k == "content-type"}
    return httpx.Response(response.status_code, headers=kept, content=body)


def _key_path(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"items/{key}"
    return f"encodedItems/{quote(base64.b64encode(key.encode()).decode(), safe='')}"


def _release(url: str, answer: httpx.Response) -> PublishedRelease:
    try:
        body = answer.json()
        return PublishedRelease(
            id=int(body["id"]),
            name=str(body["name"]),
            configurations={str(k): str(v) for k, v in body["configurations"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"What answers at {mask_url(url)} is not an Apollo portal: its answer is not a release."
        ) from error


def _items(url: str, answer: httpx.Response) -> dict[str, str]:
    try:
        lines = answer.json()["items"]
        # Comments and blank lines are items without a key.
        return {str(one["key"]): str(one["value"]) for one in lines if one.get("key")}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"What answers at {mask_url(url)} is not an Apollo portal: its answer has no items."
        ) from error


def _faults(url: str, answer: httpx.Response) -> list[str]:
    try:
        return [str(one["message"]) for one in answer.json()["faults"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"What answers at {mask_url(url)} is not a config server: its answer has no faults."
        ) from error


def _reason(answer: httpx.Response) -> str:
    try:
        found = answer.json()["message"]
    except (ValueError, TypeError, KeyError):
        found = answer.text
    line = " ".join(str(found).split()) or "it gives no reason."
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
