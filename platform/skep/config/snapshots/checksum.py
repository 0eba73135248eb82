"""JSON documents on disk with a checksum, which shows what is damaged or cut off."""

import json
from hashlib import blake2b
from typing import Any

from skep.base.errors import ConfigError


def seal(format_: int, body: dict[str, Any]) -> bytes:
    """Return the document with its checksum, as it is written."""
    document = {"format": format_, **body}
    return json.dumps({**document, "checksum": _checksum(document)}, indent=1).encode()


def unseal(format_: int, data: bytes) -> dict[str, Any]:
    """Return the body that was sealed. Raises ConfigError with the reason if it is not valid."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise ConfigError("it is damaged or cut off.") from None
    if not isinstance(document, dict):
        raise ConfigError("it is damaged.")
    if document.get("format") != format_:
        raise ConfigError("it was written by another version of the platform.")
    if document.pop("checksum", None) != _checksum(document):
        raise ConfigError("its checksum is wrong.")
    return document


def _checksum(document: dict[str, Any]) -> str:
    return blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()
