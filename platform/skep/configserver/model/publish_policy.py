"""What a release of a namespace must be: its JSON Schema, its required keys; pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from skep.base.logs.masking import MASK, is_secret, mask_value
from skep.configserver.model.formats import CONTENT
from skep.configserver.model.names import file_format
from skep.configserver.model.refusals import InvalidRequest, ReleaseRefused

_LARGEST_SCHEMA = 256 * 1024
_MOST_REQUIRED = 1000
_MOST_FAULTS, _LONGEST = 20, 120
_DOCUMENTS = ("json", "yml", "yaml")


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """The rules that a publish of a namespace must follow.

    `schema` is the text of a JSON Schema 2020-12, empty for none. `required` are keys; in a json or
    yaml namespace they are paths such as `db.host`. `approval` says that a second person must
    approve each publish.
    """

    schema: str = ""
    required: tuple[str, ...] = ()
    approval: bool = False

    def check(self, namespace: str) -> None:
        """Raise InvalidRequest if the policy cannot be that of the namespace."""
        kind = file_format(namespace)
        if kind not in ("properties", *_DOCUMENTS) and (self.schema or self.required):
            raise InvalidRequest(
                f"{namespace} holds {kind}: a schema and required keys are for properties, json "
                "and yaml."
            )
        if len(self.required) > _MOST_REQUIRED or not all(key.strip() for key in self.required):
            raise InvalidRequest(f"Required keys are up to {_MOST_REQUIRED} texts, none empty.")
        if self.schema:
            _check_schema(self.schema)


@dataclass(frozen=True, slots=True)
class ReleaseFault:
    """A rule that a release would break. `expected` is what the rule asks for, `value` what is
    there, masked if it is secret; empty for a missing key."""

    key: str
    rule: str
    expected: str = ""
    value: str = ""

    def __str__(self) -> str:
        key = repr(self.key) if self.key else "The whole namespace"
        if self.rule == "required":
            return f"{key} is missing (rule `required`)"
        there = f", but is {self.value}" if self.value else ""
        return f"{key} breaks the rule `{self.rule}`: it must satisfy {self.expected}{there}"


def faults(
    policy: PublishPolicy, namespace: str, values: Mapping[str, str]
) -> Sequence[ReleaseFault]:
    """Return the rules that a release with these values would break, up to 20."""
    if not (policy.schema or policy.required):
        return ()
    schema = json.loads(policy.schema) if policy.schema else True
    if file_format(namespace) == "properties":
        instance: Any = {key: _typed(schema, key, text) for key, text in values.items()}
        missing = [key for key in policy.required if key not in values]
    else:
        try:
            instance = _document(namespace, values.get(CONTENT, ""))
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            return (ReleaseFault(CONTENT, "format", f"{file_format(namespace)}: {error}"),)
        missing = [key for key in policy.required if not _has(instance, key)]
    found = [ReleaseFault(key, "required") for key in missing]
    for fault in _schema_faults(schema, instance):
        if fault not in found:
            found.append(fault)
        if len(found) >= _MOST_FAULTS:
            break
    return found[:_MOST_FAULTS]


def refuse_faulty(policy: PublishPolicy, namespace: str, values: Mapping[str, str]) -> None:
    """Raise ReleaseRefused, naming keys, rules and values, if a release would break a rule."""
    found = faults(policy, namespace, values)
    if found:
        lines = "; ".join(map(str, found))
        raise ReleaseRefused(
            f"{namespace} is not published: {lines}.", [asdict(fault) for fault in found]
        )


def _check_schema(text: str) -> None:
    # Imported only where a schema is used: it takes 10 MB.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if len(text) > _LARGEST_SCHEMA:
        raise InvalidRequest(f"The schema is larger than {_LARGEST_SCHEMA} characters.")
    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.") from error
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its root"
        raise InvalidRequest(
            f"The schema is not JSON Schema 2020-12, at {place}: {error.message}."
        ) from error


def _schema_faults(schema: Any, instance: Any) -> Iterator[ReleaseFault]:
    if schema is True:
        return
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import UnknownType
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry, because otherwise a `$ref` would make the server fetch a URL.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        for error in validator.iter_errors(instance):
            yield from _faults_of(error)
    except (
        *(Unresolvable, UnknownType, RecursionError),
        # A pattern that Python does not know, and numbers without end.
        *(re.error, ValueError, ArithmeticError),
    ) as error:
        expected = f"a schema that can be evaluated ({type(error).__name__}: {error})"
        yield ReleaseFault("", "schema", expected)


def _faults_of(error: Any) -> Iterator[ReleaseFault]:
    """Return the faults of a validation error. Its own message may quote secrets of other keys."""
    path = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield ReleaseFault(".".join([*path, name]), "required")
        return
    expected = json.dumps(error.validator_value, ensure_ascii=False)
    yield ReleaseFault(
        ".".join(path), error.validator or "false", _cut(expected), _shown(path, error.instance)
    )


def _shown(path: Sequence[str], value: Any) -> str:
    if isinstance(value, dict | list):
        return ""
    if any(map(is_secret, path)):
        return MASK
    text = value if isinstance(value, str) else json.dumps(value)
    masked = mask_value(path[-1] if path else "", text)
    quoted = masked != MASK and isinstance(value, str)
    return _cut(json.dumps(masked, ensure_ascii=False) if quoted else masked)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _typed(schema: Any, key: str, text: str) -> Any:
    """Return a value of properties as the schema wants to see it: its text, or where the schema
    declares only other types, the JSON that the text spells."""
    if not isinstance(schema, dict):
        return text
    rule = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    types = rule.get("type") if isinstance(rule, dict) else None
    if types is None or "string" in ([types] if isinstance(types, str) else types):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _document(namespace: str, text: str) -> Any:
    if file_format(namespace) == "json":
        return json.loads(text) if text.strip() else None
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        # A few lines with aliases may stand for gigabytes.
        raise ValueError("a document with aliases cannot be checked: write it without them")
    # Through JSON, because YAML knows dates, and keys that are not texts.
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


def _has(document: Any, path: str) -> bool:
    if not isinstance(document, dict):
        return False
    if path in document:
        return True
    head, _, rest = path.partition(".")
    return bool(rest) and head in document and _has(document[head], rest)
