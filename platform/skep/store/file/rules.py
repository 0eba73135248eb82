"""The rarely used fields of an envelope, in a column of their own."""

import msgspec
from msgspec import Struct

from skep.engine.contract import Envelope


class Rules(Struct, frozen=True, omit_defaults=True):
    """The fields of an Envelope that most deliveries leave at their defaults."""

    key: str = ""
    unique_for: int = 0
    concurrency: int = 1
    keep_result: int = 0


NONE = Rules()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Rules).decode


def rules_of(envelope: Envelope) -> Rules:
    if envelope.key or envelope.keep_result or envelope.concurrency_key:
        return Rules(envelope.key, envelope.unique_for, envelope.concurrency, envelope.keep_result)
    return NONE


def write_rules(rules: Rules) -> str:
    """Return rules as their column holds them; most deliveries have none."""
    return "" if rules is NONE else _encode(rules).decode()


def read_rules(column: str) -> Rules:
    return _decode(column) if column else NONE
