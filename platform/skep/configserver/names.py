"""Apollo's names: how they are spelled, compared, and fall back on one another; pure.

Upper and lower case are one name when it is looked up (ASCII letters alone, as in SQLite's NOCASE:
no other letters are legal), but the spelling of whoever wrote it first is kept and shown.
"""

import re
import string
from typing import NamedTuple

DEFAULT_CLUSTER = "default"
# The suffixes a namespace bears in its name; without any it holds properties.
FILE_FORMATS = ("json", "yaml", "yml", "xml", "txt")

_PROPERTIES = ".properties"
_LEGAL = re.compile(r"[0-9a-zA-Z_-]+[0-9a-zA-Z_.-]*")
_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Address(NamedTuple):
    """Whose, where, which: the address of one namespace."""

    app_id: str
    cluster: str
    namespace: str

    def __str__(self) -> str:
        """Return the address as messages of the protocol spell it: `app+cluster+namespace`."""
        return "+".join(self)

    def fold(self) -> "Address":
        """Return the one spelling that all spellings of this address share."""
        return Address(*map(fold, self))


def fold(name: str) -> str:
    """Return the one spelling that all spellings of a name share."""
    return name.translate(_TO_LOWER)


def is_legal(name: str) -> bool:
    """Say whether Apollo allows the name: letters, digits, `_`, `-`, and `.` but not in front."""
    return _LEGAL.fullmatch(name) is not None


def is_text(text: str) -> bool:
    """Say whether it is Unicode: JSON can spell halves of characters, which nothing can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def bare(namespace: str) -> str:
    """Return the namespace without one `.properties`: clients may add it, the name has none."""
    if fold(namespace).endswith(_PROPERTIES):
        return namespace[: -len(_PROPERTIES)]
    return namespace


def file_format(namespace: str) -> str:
    """Return the format that the name of a namespace tells: `properties` or a file's suffix."""
    suffix = fold(namespace).rpartition(".")[2]
    return suffix if suffix in FILE_FORMATS and "." in namespace else "properties"


def fallback(cluster: str, data_center: str) -> list[str]:
    """Return the clusters in which a client's release is looked for, in this order.

    The default cluster is always the last. So a client of the default cluster that names a data
    center gets the data center's release first: surprising, but so does Apollo.
    """
    order = {fold(name): name for name in (cluster, data_center) if name}
    order.pop(DEFAULT_CLUSTER, None)
    return [*order.values(), DEFAULT_CLUSTER]
