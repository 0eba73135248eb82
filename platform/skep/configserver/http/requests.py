"""What requests say: addresses, keys, numbers and bodies."""

import base64
import binascii
import json
from typing import Any

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request

from skep.configserver.model.access_keys import SignedRequest
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address, bare, is_legal, is_text
from skep.configserver.model.refusals import InvalidRequest, NotFound

# The widths of Apollo's own columns.
OPERATOR, TITLE, RELEASE_COMMENT, ITEM_COMMENT = 64, 64, 256, 1024
_LARGEST_PAGE = 1000


class _RowId(IntegerConvertor):
    """A number of a length that Python converts: it refuses more than 4300 digits."""

    regex = "[0-9]{1,19}"


register_url_convertor("row", _RowId())


def address(request: Request) -> Address:
    """Return the address in the path."""
    path = request.path_params
    return Address(path["app_id"], path["cluster"], bare(path["namespace"]))


def app_id(text: str) -> str:
    """Return an app id. Raises InvalidRequest if it is missing or not legal."""
    if not is_legal(text):
        raise InvalidRequest(f"The app id {text!r} is missing or not legal.")
    return text


def key(request: Request) -> str:
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


def path_id(request: Request, name: str) -> int:
    """Return an id in the path. Raises NotFound for one that no row can have."""
    found: int = request.path_params[name]
    if found >= 1 << 63:
        raise NotFound(f"There is nothing with the id {found}.")
    return found


def number(request: Request, name: str, default: int | None = None) -> int:
    """Return a parameter that is a number. Raises InvalidRequest for another, and if it is missing
    and there is no default."""
    text = request.query_params.get(name) or ("" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"The parameter `{name}` must be a number, not {text!r}.")
    return int(text)


def page(request: Request, default: int) -> tuple[int, int]:
    """Return the parameters `page` and `size`."""
    number_of_page, size = number(request, "page", 0), number(request, "size", default)
    if not 1 <= size <= _LARGEST_PAGE:
        raise InvalidRequest(f"The parameter `size` must be 1 to {_LARGEST_PAGE}, not {size}.")
    return number_of_page, size


def flag(request: Request, name: str) -> bool:
    """Return whether a parameter is `true`."""
    return request.query_params.get(name, "").lower() == "true"


def operator(request: Request) -> str:
    """Return the parameter `operator`. Raises InvalidRequest if it is missing or too long."""
    return text(dict(request.query_params), "operator", OPERATOR)


def revision(request: Request) -> int | None:
    """Return the revision in `If-Match`, or None without that header; `*` stands for any."""
    given = request.headers.get("if-match", "").strip().strip('"')
    if given in ("", "*"):
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise InvalidRequest(
            f"The header `If-Match` must be the revision of the item, not {given!r}."
        )
    return int(given)


def signed(request: Request) -> SignedRequest:
    """Return what a client signs: the bytes of the request line, nothing decoded."""
    target = request.scope["raw_path"]
    if request.scope["query_string"]:
        target += b"?" + request.scope["query_string"]
    headers = request.headers
    return SignedRequest(target, headers.get("timestamp", ""), headers.get("authorization", ""))


async def body(request: Request, most: int) -> Any:
    """Return the JSON of the body. Raises InvalidRequest for anything else, and HTTPException for
    more than `most` bytes."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
    try:
        return json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error


async def json_object(request: Request, most: int) -> dict[str, Any]:
    """Return the JSON object of the body. Raises as `body` does."""
    found = await body(request, most)
    if not isinstance(found, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return found


def draft(fields: dict[str, Any], base: int | None = None, *, keyless: bool = False) -> Draft:
    """Return the item of a body; `keyless` allows comments. The editor checks the lengths of key
    and value: it knows the limits."""
    item_key = text(fields, "key", needed=not keyless)
    value = text(fields, "value", blank=True, needed=not keyless)
    comment = text(fields, "comment", ITEM_COMMENT, needed=False)
    kind = fields.get("type")
    if kind not in (None, 0, 1, 2, 3):
        raise InvalidRequest(f"The field `type` must be 0, 1, 2 or 3, not {kind!r}.")
    return Draft(item_key, value, comment, int(kind or 0), base)


def text(
    fields: dict[str, Any],
    name: str,
    most: int = 0,
    *,
    needed: bool = True,
    blank: bool = False,
) -> str:
    """Return a field as text of up to `most` characters (0 for any number). As in Apollo, a number
    or a boolean becomes its JSON text. Raises InvalidRequest, naming the field."""
    found = fields.get(name)
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


def items_of(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a field that is an array of objects; empty if it is missing. Raises InvalidRequest."""
    found = fields.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidRequest(f"The field `{name}` must be an array of objects.")
    return found


def texts_of(fields: dict[str, Any], name: str) -> list[str]:
    """Return a field that is an array of texts; empty if it is missing. Raises InvalidRequest."""
    found = fields.get(name) or []
    if not isinstance(found, list) or not all(isinstance(o, str) and is_text(o) for o in found):
        raise InvalidRequest(f"The field `{name}` must be an array of texts.")
    return found
