"""Keys that differ in case only are one key: `mail_host` and `MAIL_HOST`.

Every spelling of a layer stays in the environment, because code may read any, and all have the same
value: that of the strongest layer.
"""

from collections.abc import Iterable, Mapping


def fold(key: str) -> str:
    """Return the one name that all spellings of a key share."""
    return key.upper()


def spellings(key: str, values: Mapping[str, str]) -> list[str]:
    """Return the spellings of a key that occur in `values`, the one that counts first."""
    return sorted((name for name in values if fold(name) == fold(key)), key=_rank)


def folded(values: Mapping[str, str]) -> dict[str, str]:
    """Return the values by folded key. Of several spellings the one in capital letters counts, as
    in the process environment, which may hold `http_proxy` and `HTTP_PROXY`."""
    return {fold(key): values[key] for key in sorted(values, key=_rank, reverse=True)}


def merged(layers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return every spelling in the layers, which are in order from weak to strong, with the value
    of the strongest one."""
    winners: dict[str, str] = {}
    names: dict[str, None] = {}
    for layer in layers:
        names |= dict.fromkeys(layer)
        winners |= folded(layer)
    return {name: winners[fold(name)] for name in names}


def _rank(key: str) -> tuple[bool, str]:
    return key != fold(key), key
