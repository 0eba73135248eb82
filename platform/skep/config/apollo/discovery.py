"""What a meta server says: the addresses of the config servers. Pure."""

import json
from typing import Any

PATH = "/services/config"


def addresses(body: bytes, *, encrypted: bool) -> list[str]:
    """Read the answer of a meta server; none if it is no such answer.

    `encrypted` is for a meta server that was asked over TLS: a config server it names without TLS
    is left out, for who wants TLS must not lose it by a list.
    """
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found = [_address(entry) for entry in entries] if isinstance(entries, list) else []
    schemes = ("https://",) if encrypted else ("https://", "http://")
    return list(dict.fromkeys(url for url in found if url.lower().startswith(schemes)))


def _address(entry: Any) -> str:
    match entry:
        case {"homepageUrl": str(url)}:
            return url.strip().rstrip("/")
    return ""
