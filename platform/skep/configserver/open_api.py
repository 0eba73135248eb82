"""The part of Apollo's Open API that writing needs: items, publishing, the latest release."""

import asyncio
import base64
import binascii
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.names import Address, bare, file_format, is_text
from skep.configserver.records import Draft, InvalidRequest, Item, NotFound, StoredRelease
from skep.configserver.store import Mode, Store
from skep.configserver.watchers import Watchers

Endpoint = Callable[[Request], Awaitable[Response]]
_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logging.getLogger(__name__)

# Any environment name is accepted: this server has only one.
_NAMESPACE = "/openapi/v1/envs/{env}/apps/{app_id}/clusters/{cluster}/namespaces/{namespace}"
# The widths of Apollo's own columns.
_OPERATOR, _TITLE, _RELEASE_COMMENT, _ITEM_COMMENT = 64, 64, 256, 1024
_LARGEST_PAGE = 1000


class OpenApi:
    """The endpoints of Apollo's portal for scripts and the platform itself.

    Writing needs the header `Authorization: <token>`, and creates app, cluster and namespace when
    they do not exist. A commit waits for the disk: less than a millisecond, tens on a slow disk,
    seconds on a busy one. So a thread writes; only one, because SQLite allows one writer, and
    because it keeps notifications in the order of their ids.
    """

    def __init__(self, store: Store, watchers: Watchers, token: str) -> None:
        self._store = store
        self._watchers = watchers
        self._token = token.encode()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="editor")

    def close(self) -> None:
        """Finish the writes in progress and end the thread."""
        self._thread.shutdown()

    def routes(self) -> list[Route]:
        """Return the routes."""
        keys = (f"{_NAMESPACE}/items/{{key}}", f"{_NAMESPACE}/encodedItems/{{encoded:path}}")
        return [
            Route(_NAMESPACE, self.namespace),
            Route(f"{_NAMESPACE}/items", self.items),
            self._guarded("POST", f"{_NAMESPACE}/items", self.create_item),
            *(Route(key, self.item) for key in keys),
            *(self._guarded("PUT", key, self.update_item) for key in keys),
            *(self._guarded("DELETE", key, self.delete_item) for key in keys),
            self._guarded("POST", f"{_NAMESPACE}/releases", self.publish),
            Route(f"{_NAMESPACE}/releases/latest", self.latest_release),
        ]

    async def namespace(self, request: Request) -> Response:
        """Answer a namespace with all its items."""
        at = self._known(request)
        return JSONResponse(
            {
                "appId": at.app_id,
                "clusterName": at.cluster,
                "namespaceName": at.namespace,
                "comment": "",
                "format": file_format(at.namespace),
                "isPublic": False,
                "items": [_item(item) for item in self._store.items(at)],
            }
        )

    async def items(self, request: Request) -> Response:
        """Answer one page of a namespace's items."""
        items = self._store.items(self._known(request))
        page, size = _number(request, "page", 0), _number(request, "size", 50)
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidRequest(f"The parameter `size` must be 1 to {_LARGEST_PAGE}, not {size}.")
        content = [_item(item) for item in items[page * size : (page + 1) * size]]
        return JSONResponse({"page": page, "size": size, "total": len(items), "content": content})

    async def item(self, request: Request) -> Response:
        """Answer one item."""
        return self._answer_item(_address(request), _key(request))

    async def create_item(self, request: Request) -> Response:
        """Add an item; answer it."""
        body = await self._body(request)
        operator = _text(body, "dataChangeCreatedBy", _OPERATOR)
        draft = _draft(body)
        at = _address(request)
        await self._write(self._store.put_item, at, draft, operator, "create")
        return self._answer_item(at, draft.key)

    async def update_item(self, request: Request) -> Response:
        """Change an item; with `createIfNotExists=true` it need not exist."""
        body = await self._body(request)
        draft = _draft(body)
        if draft.key != _key(request):
            raise InvalidRequest(f"The key of the body, {draft.key!r}, is not {_key(request)!r}.")
        mode: Mode = "update"
        operator = _text(body, "dataChangeLastModifiedBy", _OPERATOR)
        if request.query_params.get("createIfNotExists", "").lower() == "true":
            mode = "either"
            _text(body, "dataChangeCreatedBy", _OPERATOR)
        await self._write(self._store.put_item, _address(request), draft, operator, mode)
        return Response()

    async def delete_item(self, request: Request) -> Response:
        """Delete an item."""
        _text(dict(request.query_params), "operator", _OPERATOR)
        await self._write(self._store.delete_item, _address(request), _key(request))
        return Response()

    async def publish(self, request: Request) -> Response:
        """Put the items of the namespace in force; answer the release."""
        body = await self._body(request)
        at, title = _address(request), _text(body, "releaseTitle", _TITLE)
        operator = _text(body, "releasedBy", _OPERATOR)
        comment = _text(body, "releaseComment", _RELEASE_COMMENT, needed=False)
        release, notification = await self._write(self._store.publish, at, title, operator, comment)
        woken = self._watchers.wake(notification)
        _log.info("%r released %s as %s: woke %d", operator, at, release.release_key, woken)
        return JSONResponse(_release(release))

    async def latest_release(self, request: Request) -> Response:
        """Answer the release in force, or 200 and nothing if there is none, as Apollo does."""
        release = self._store.latest_release(_address(request))
        return JSONResponse(_release(release)) if release else Response()

    def _guarded(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, self._token):
                raise HTTPException(
                    401,
                    "Writing needs the header `Authorization: <token>`. The token lies in the "
                    "file `configserver/token` of the platform's data directory.",
                )
            return await endpoint(request)

        return Route(path, guarded, methods=[method])

    async def _write(self, act: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(act, *args, **kwargs))

    def _known(self, request: Request) -> Address:
        asked = _address(request)
        found = self._store.find(asked)
        if found is None:
            raise NotFound(f"There is no namespace {asked}.")
        return found

    def _answer_item(self, address: Address, key: str) -> Response:
        item = self._store.item(address, key)
        if item is None:
            raise NotFound(f"There is no key {key!r} in {address}.")
        return JSONResponse(_item(item))

    async def _body(self, request: Request) -> dict[str, Any]:
        most = self._store.limits.body
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise HTTPException(413, f"The body is larger than {most} bytes.")
        try:
            body = json.loads(bytes(data))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from error
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        return body


def moment(milliseconds: int) -> str:
    """Return a time as Apollo writes it: `2024-06-14T16:31:38.588+0000`."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{seconds}.{milliseconds % 1000:03d}+0000"


def _address(request: Request) -> Address:
    path = request.path_params
    return Address(path["app_id"], path["cluster"], bare(path["namespace"]))


def _key(request: Request) -> str:
    """Return the key in the path: plain, or in Base64, standard or for URLs, padded or not."""
    if "key" in request.path_params:
        return str(request.path_params["key"])
    encoded = request.path_params["encoded"].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The key in the path is not Base64 of UTF-8 text: {error}."
        ) from error


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"The parameter `{name}` must be a number, not {text!r}.")
    return int(text)


def _draft(body: dict[str, Any]) -> Draft:
    # The store checks the lengths of key and value: it knows the limits.
    key = _text(body, "key")
    value = _text(body, "value", blank=True)
    comment = _text(body, "comment", _ITEM_COMMENT, needed=False)
    kind = body.get("type")
    if kind not in (None, 0, 1, 2, 3):
        raise InvalidRequest(f"The field `type` must be 0, 1, 2 or 3, not {kind!r}.")
    return Draft(key, value, comment, int(kind or 0))


def _text(
    body: dict[str, Any], name: str, most: int = 0, *, needed: bool = True, blank: bool = False
) -> str:
    """Return a field as text of up to `most` characters (0 for any number). As in Apollo, a number
    or a boolean becomes its JSON text."""
    found = body.get(name)
    if isinstance(found, bool | int | float):
        found = json.dumps(found)
    if found is None and not needed:
        return ""
    if not isinstance(found, str) or not is_text(found):
        raise InvalidRequest(f"The field `{name}` is missing or not a text.")
    if needed and not blank and not found.strip():
        raise InvalidRequest(f"The field `{name}` is empty.")
    if most and len(found) > most:
        raise InvalidRequest(f"The field `{name}` has {len(found)} characters; {most} are allowed.")
    return found


def _item(item: Item) -> dict[str, Any]:
    return {
        "key": item.key,
        "type": item.type,
        "value": item.value,
        "comment": item.comment,
        "dataChangeCreatedBy": item.created_by,
        "dataChangeLastModifiedBy": item.modified_by,
        "dataChangeCreatedTime": moment(item.created_at),
        "dataChangeLastModifiedTime": moment(item.modified_at),
    }


def _release(release: StoredRelease) -> dict[str, Any]:
    at = release.address
    return {
        "id": release.id,
        "appId": at.app_id,
        "clusterName": at.cluster,
        "namespaceName": at.namespace,
        "name": release.name,
        "configurations": release.values(),
        "comment": release.comment,
        "dataChangeCreatedBy": release.released_by,
        "dataChangeLastModifiedBy": release.released_by,
        "dataChangeCreatedTime": moment(release.released_at),
        "dataChangeLastModifiedTime": moment(release.released_at),
    }
