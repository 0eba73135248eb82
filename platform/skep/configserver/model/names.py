"""Apollo's names: how they are spelled, compared, and fall back on one another; pure.

Names are looked up in any case (of ASCII letters, as in SQLite's NOCASE: no others are legal), but
the first spelling is kept and shown.
"""

import re
import string
from typing import NamedTuple

DEFAULT_CLUSTER = "default"
# The suffixes a namespace bears in its name; without any it holds properties.
FILE_FORMATS = ("json", "yaml", "yml", "xml", "txt")

_PROPERTIES = ".properties"
_LEGAL = re.compile(r"[0-9a-zA-Z_-]+[0-9a-zA-Z_.-]*")
_BRANCH = re.compile(r"[0-9]{14}-[0-9a-fA-F]{16}")
_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Address(NamedTuple):
    """The address of one namespace."""

    app_id: str
    cluster: str
    namespace: str

    def __str__(self) -> str:
        """Return the address as messages of the protocol spell it: `app+cluster+namespace`."""
        return "+".join(self)

    def fold(self) -> "Address":
        """Return the form that all spellings of this address share."""
        return Address(*map(fold, self))


def fold(name: str) -> str:
    """Return the form that all spellings of a name share."""
    # The same for ASCII, and ten times as fast: a request folds a dozen names.
    return name.lower() if name.isascii() else name.translate(_TO_LOWER)


def is_legal(name: str) -> bool:
    """Return whether Apollo allows the name: letters, digits, `_`, `-`, and `.` but not first."""
    return _LEGAL.fullmatch(name) is not None


def is_branch_name(cluster: str) -> bool:
    """Return whether the name of a cluster is one that the server gives to branches."""
    return _BRANCH.fullmatch(cluster) is not None


def is_text(text: str) -> bool:
    """Return whether it is Unicode: JSON allows halves of characters, which cannot be stored."""
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
    """Return the clusters to search for a client's release, in this order, the default one last.

    So a client of the default cluster that names a data center gets the data center's release
    first: surprising, but as Apollo does it.
    """
    order = {fold(name): name for name in (cluster, data_center) if name}
    order.pop(DEFAULT_CLUSTER, None)
    return [*order.values(), DEFAULT_CLUSTER]
