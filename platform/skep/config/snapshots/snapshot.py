"""What a config server has published for us: releases, and the snapshot they make together.

Pure. A snapshot turns its keys into names of environment variables, and refuses what cannot be
passed to a process. Values never appear in an error or a repr.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from skep.base.errors import ConfigError
from skep.config.errors import Unusable
from skep.config.options.spelling import fold, merged

# The one key of a namespace that holds a document.
CONTENT = "content"
# Documents of these formats are one value; the pull turns those of others into keys.
_WHOLE = re.compile(r"\.(?:xml|txt)\Z", re.IGNORECASE)
_UNFIT = re.compile(r"[^A-Za-z0-9_]")
# execve(2): no single "KEY=value" may be longer than MAX_ARG_STRLEN, 128 KiB with its closing NUL.
_LONGEST = 131_071
# All strings with their pointers must fit a quarter of the stack's limit, 2 MiB by default; a
# sixteenth of that is left to the process's own.
_LARGEST = 2 * 1024 * 1024 - 128 * 1024
_POINTER = 8
# With fewer keys, half of them may well be deleted on purpose.
_MANY = 10
_ADVICE = "If that is meant, allow it with --allow-empty or PLATFORM_ALLOW_EMPTY=true."


def canonical(namespace: str) -> str:
    """Return the name without the suffix `.properties`, which Apollo treats as an alias."""
    return re.sub(r"(?i)\.properties\Z", "", namespace)


def env_name(namespace: str, key: str) -> str:
    """Return the name of a key in the environment.

    All but ASCII letters, digits and underscores become underscores; a leading digit gets one in
    front. The case stays. The value of a namespace such as `banner.txt` is called `banner_txt`.
    """
    source = namespace if key == CONTENT and _WHOLE.search(namespace) else key
    name = _UNFIT.sub("_", source)
    return f"_{name}" if name[:1].isdigit() else name


@dataclass(frozen=True)
class Release:
    """One published, immutable set of keys and values of one namespace.

    `cluster` is the one we asked for; the server may have answered from its default cluster.
    """

    app_id: str
    cluster: str
    namespace: str
    release_key: str
    configurations: Mapping[str, str] = field(repr=False)

    def values(self) -> dict[str, str]:
        """Return the values by environment name.

        Raises Unusable, naming keys and namespace, if two keys have the same name in any case, or
        if a value cannot be passed to a process.
        """
        sources: dict[str, str] = {}
        values: dict[str, str] = {}
        for key, value in self.configurations.items():
            name = env_name(self.namespace, key)
            if (other := sources.setdefault(fold(name), key)) != key:
                raise Unusable(
                    f"The keys {other!r} and {key!r} of namespace {self.namespace} both become "
                    f"{name} in the environment, where case does not matter: rename one of them.",
                    "collision",
                )
            if trouble := _unfit(name, value):
                raise Unusable(
                    f"The key {key!r} of namespace {self.namespace} cannot be passed to a process: "
                    f"{trouble}.",
                    "limits",
                )
            values[name] = value
        return values


@dataclass(frozen=True)
class Snapshot:
    """All releases of all our namespaces, pulled together, in the order of the namespaces.

    `fetched_at` is in seconds since the epoch.
    """

    releases: tuple[Release, ...]
    fetched_at: float

    def release_keys(self) -> dict[str, str]:
        """Return the release key of each namespace."""
        return {release.namespace: release.release_key for release in self.releases}

    def release(self, namespace: str) -> Release | None:
        """Return the release of a namespace, None if it is not one of ours."""
        return next((one for one in self.releases if one.namespace == namespace), None)

    def values(self) -> dict[str, str]:
        """Return the environment variables; a later namespace overrides an earlier one, in any case
        of the key. Raises Unusable when they cannot be an environment."""
        values = merged(release.values() for release in self.releases)
        size = sum(len(k) + len(v.encode()) + 2 + _POINTER for k, v in values.items())
        if size > _LARGEST:
            names = ", ".join(release.namespace for release in self.releases)
            raise Unusable(
                f"The namespaces {names} are {size} bytes together; no more than {_LARGEST} can be "
                "passed to a process.",
                "limits",
            )
        return values

    @cached_property
    def digest(self) -> str:
        """A hash of names and values, not of release keys or times. Raises Unusable."""
        total = blake2b(digest_size=12)
        for text in (text for item in sorted(self.values().items()) for text in item):
            raw = text.encode()
            total.update(len(raw).to_bytes(8, "big") + raw)
        return total.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as a JSON document; `from_json` is its inverse."""
        releases = [
            {**vars(one), "configurations": dict(one.configurations)} for one in self.releases
        ]
        return {"releases": releases, "fetched_at": self.fetched_at}

    @classmethod
    def from_json(cls, document: object) -> "Snapshot":
        """Read what `to_json` wrote; raise ConfigError if the document has any other shape."""
        fields = _object(document, {"releases", "fetched_at"})
        releases, fetched_at = fields["releases"], fields["fetched_at"]
        if not isinstance(releases, list) or type(fetched_at) not in (int, float):
            raise ConfigError("The document is not a snapshot: a field has the wrong type.")
        return cls(tuple(_release(item) for item in releases), float(fetched_at))


def check_shrinkage(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Compare the values in force with those to come.

    Raises Unusable when no key is left, or when over half of at least ten keys are gone: a restored
    backup, the wrong cluster, a namespace emptied by mistake. New keys do not count: the
    configuration of another app has as many.
    """
    if before and not after:
        raise Unusable(f"Not one of the {len(before)} keys in force is left. {_ADVICE}", "empty")
    gone = before.keys() - after.keys()
    if len(before) >= _MANY and len(gone) * 2 > len(before):
        names = ", ".join(sorted(gone)[:3])
        raise Unusable(
            f"{len(gone)} of the {len(before)} keys in force are gone ({names} …). {_ADVICE}",
            "shrunk",
        )


def _unfit(name: str, value: str) -> str:
    """Return why this variable cannot be passed to a process; empty if it can."""
    if not name:
        return "the key is empty"
    if "\0" in value:
        return "its value contains a NUL character"
    try:
        size = len(name) + 1 + len(value.encode())
    except UnicodeEncodeError:
        return "its value contains half a character (a lone surrogate)"
    if size > _LONGEST:
        return f"name and value are {size} bytes, more than the {_LONGEST} that Linux allows"
    return ""


def _release(document: object) -> Release:
    names = {"app_id", "cluster", "namespace", "release_key"}
    fields = _object(document, {*names, "configurations"})
    configurations = fields["configurations"]
    texts = [fields[name] for name in names]
    texts += configurations.values() if isinstance(configurations, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ConfigError("The document is not a snapshot: a field has the wrong type.")
    return Release(**fields)


def _object(document: object, names: set[str]) -> dict[str, Any]:
    if not isinstance(document, dict) or document.keys() != names:
        raise ConfigError("The document is not a snapshot: fields are missing or unknown.")
    return document
