"""What messages and replies of a process may be: types, and how they become bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from skep.base.errors import MessageInvalid
from skep.messaging.calls import too_large

# Bytes, unless a class declares another number.
USUAL_LARGEST = 16 * 1024 * 1024


class Content:
    """The values of one type in one direction.

    `what` is "a message" or "a reply". Without a type (Any) they are what JSON has, and bytes.
    Raises TypeError if the type is not one whose values can be sent.
    """

    def __init__(self, what: str, kind: Any = Any, largest: int = USUAL_LARGEST) -> None:
        self.what = what
        self.kind = kind
        self.largest = largest
        self._decode = msgspec.msgpack.Decoder(kind, dec_hook=_built).decode

    def encode(self, name: str, value: Any) -> bytes:
        """Return the value as bytes. Raises MessageInvalid and MessageTooLarge, naming the
        process."""
        try:
            body = msgspec.msgpack.encode(value, enc_hook=_plain)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self._invalid(name, f"cannot be sent: {error}", value) from error
        if len(body) > self.largest:
            raise too_large(name, self.what, len(body), self.largest)
        if self.kind is not Any:
            self.decode(name, body)
        return body

    def decode(self, name: str, body: bytes) -> Any:
        """Return the value in these bytes. Raises MessageInvalid."""
        try:
            return self._decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            kind = self.kind.__name__ if isinstance(self.kind, type) else self.kind
            wanted = "" if self.kind is Any else f", which is {kind}"
            raise self._invalid(name, f"does not fit its type{wanted}: {error}") from error

    def _invalid(self, name: str, why: str, value: Any = None) -> MessageInvalid:
        shown = "" if value is None else f" ({value!r:.80})"
        return MessageInvalid(f"{name}: {self.what}{shown} {why.rstrip('.')}.")


def _plain(value: Any) -> Any:
    """Return a pydantic model as a dict."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"an object of {type(value).__module__}.{type(value).__qualname__} is not data")


def _built(kind: type, value: Any) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise TypeError(f"{kind.__qualname__} cannot be made of data")
