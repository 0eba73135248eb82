"""Namespaces that hold a document instead of keys: json and yaml become keys, xml and txt stay.

    {"db": {"hosts": ["a", "b"], "port": 5432}}   ->   db.hosts[0]  db.hosts[1]  db.port

Pure. A value is the published text: `1.0`, `yes` and `0123` stay as they are, and a null is empty.
An empty list or mapping is a key with an empty value. A document that cannot be read makes its
whole release unusable; errors never quote its content.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import yaml

from skep.config.errors import Unusable
from skep.config.snapshots.snapshot import CONTENT, Release

_FORMAT = re.compile(r"\.(json|ya?ml)\Z", re.IGNORECASE)
_STANDARD = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_STANDARD}null", f"{_STANDARD}merge"
# libyaml, where it is there, is ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML aliases can make a short document endless.
_MOST_NODES, _DEEPEST = 100_000, 64


class _Unreadable(Exception):
    """What is wrong with a document, and in which line; 0 if that is not known."""

    reason: Literal["malformed", "collision"] = "malformed"

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(text)
        self.line = line


class _Ambiguous(_Unreadable):
    """Two places in a document come to one key."""

    reason = "collision"


def flattened(release: Release) -> Release:
    """Return a release whose document has become keys; any other as it is.

    Raises Unusable, naming namespace and line.
    """
    found = _FORMAT.search(release.namespace)
    if found is None or CONTENT not in release.configurations:
        return release
    text = release.configurations[CONTENT]
    others = {k: v for k, v in release.configurations.items() if k != CONTENT}
    try:
        keys = _json_keys(text) if found[1].lower() == "json" else _yaml_keys(text)
    except _Unreadable as error:
        where = f"line {error.line} of namespace" if error.line else "namespace"
        raise Unusable(
            f"The document in {where} {release.namespace} cannot be used: {error}.", error.reason
        ) from None
    return replace(release, configurations={**others, **keys})


def _json_keys(text: str) -> dict[str, str]:
    if not text.strip():
        return {}
    try:
        document = json.loads(
            text, object_pairs_hook=_members, parse_int=str, parse_float=str, parse_constant=_no
        )
        return _once(_leaves(document, ""))
    except json.JSONDecodeError as error:
        raise _Unreadable(f"it is not JSON ({error.msg})", error.lineno) from None
    except RecursionError:
        raise _Unreadable("it is nested too deeply") from None


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unreadable(f"the key {twice!r:.100} is in one object twice")
    return members


def _no(constant: str) -> None:
    raise _Unreadable(f"{constant} is not JSON")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for key, member in value.items():
                yield from _leaves(member, _below(path, key))
        case list() if value:
            for index, member in enumerate(value):
                yield from _leaves(member, f"{path}[{index}]")
        case _ if path:
            yield path, _text(value)
        case dict() | list():
            pass
        case _:
            raise _Unreadable("it is neither an object nor a list")


def _text(value: object) -> str:
    """Return a member as it was published; numbers are texts already."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""


def _yaml_keys(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    try:
        for root in yaml.compose_all(text, Loader=_Loader):
            keys.update(_once(_Walk().leaves(root, "", 0)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Unreadable(
            f"it is not YAML ({error.problem or error.context})", mark.line + 1 if mark else 0
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        raise _Unreadable("it is not YAML (a character in it is not allowed)", line) from None
    except RecursionError:
        raise _Unreadable("it is nested too deeply") from None
    return keys


class _Walk:
    """A walk through the nodes of one YAML document; nothing in it is ever constructed."""

    def __init__(self) -> None:
        self._nodes = 0

    def leaves(self, node: yaml.Node, path: str, depth: int) -> Iterator[tuple[str, str]]:
        """Return every key with its text."""
        self._check(node, depth)
        match node:
            case yaml.MappingNode() if node.value:
                for key, member in self._members(node, depth).items():
                    yield from self.leaves(member, _below(path, key), depth + 1)
            case yaml.SequenceNode() if node.value:
                for index, member in enumerate(node.value):
                    yield from self.leaves(member, f"{path}[{index}]", depth + 1)
            case yaml.ScalarNode() if path:
                yield path, "" if node.tag == _NULL else node.value
            case yaml.ScalarNode() if node.tag != _NULL:
                raise _Unreadable("it is neither a mapping nor a list", _line(node))
            case _ if path:
                yield path, ""

    def _members(self, node: yaml.MappingNode, depth: int) -> dict[str, yaml.Node]:
        """Return the members of a mapping, those it merges (`<<`) behind its own."""
        self._check(node, depth)
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Unreadable("a key is not a text", _line(key))
            if key.tag == _MERGE:
                merged = {**self._merged(value, depth + 1), **merged}
            elif key.value in own:
                raise _Unreadable(f"the key {key.value!r:.100} is there twice", _line(key))
            else:
                own[key.value] = value
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> dict[str, yaml.Node]:
        members: dict[str, yaml.Node] = {}
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.MappingNode):
                raise _Unreadable("only mappings can be merged", _line(part))
            members = {**self._members(part, depth), **members}
        return members

    def _check(self, node: yaml.Node, depth: int) -> None:
        self._nodes += 1
        if self._nodes > _MOST_NODES or depth > _DEEPEST:
            raise _Unreadable("it unfolds without end", _line(node))
        if not node.tag.startswith(_STANDARD) or "python/" in node.tag:
            raise _Unreadable(f"the tag {node.tag!r:.100} is unknown", _line(node))


def _once(leaves: Iterator[tuple[str, str]]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for key, text in leaves:
        if key in keys:
            raise _Ambiguous(f"two places in it are called {key!r:.100}")
        keys[key] = text
    return keys


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
