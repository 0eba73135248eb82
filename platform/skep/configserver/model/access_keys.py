"""Access keys: the secrets with which the clients of an app sign, and their verification."""

import base64
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from skep.configserver.model.refusals import SignatureRefused

MOST_KEYS = 5
# Milliseconds, as in Apollo: the difference must be below.
TOLERANCE = 60_000


class KeyMode(IntEnum):
    """What a key does with a request that it did not sign."""

    FILTER = 0
    OBSERVER = 1


@dataclass(frozen=True, slots=True)
class AppKey:
    """One access key of an app."""

    id: int
    app_id: str
    secret: str
    mode: KeyMode
    enabled: bool
    created_by: str
    created_at: int


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a client signs: `target` is path and query exactly as on the request line."""

    target: bytes
    timestamp: str
    authorization: str


def sign(secret: str, timestamp: str, target: bytes) -> bytes:
    """Return the signature of a request in Base64."""
    text = timestamp.encode() + b"\n" + target
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha1"))


def verify(request: SignedRequest, accepted: Iterable[str], now: int) -> None:
    """Raise SignatureRefused unless one of the accepted secrets signed the request; `now` is the
    server's time in milliseconds."""
    if not request.timestamp and not request.authorization:
        raise SignatureRefused(
            "missing",
            "The request is not signed: the app has an access key, so send the headers "
            "`Authorization: Apollo APP:SIGNATURE` and `Timestamp`.",
        )
    skew = now - _milliseconds(request.timestamp)
    if abs(skew) >= TOLERANCE:
        raise SignatureRefused("clock-skew", _skewed(request.timestamp, skew))
    proof = request.authorization.split(":")[1:2]
    if not proof:
        raise SignatureRefused(
            "missing",
            "The header `Authorization` holds no signature: send `Apollo APP:SIGNATURE`.",
        )
    given = proof[0].encode()
    # Every secret is tried, so that the time does not show which one came close.
    matches = [
        hmac.compare_digest(sign(secret, request.timestamp, request.target), given)
        for secret in accepted
    ]
    if not any(matches):
        raise SignatureRefused(
            "wrong-signature",
            "The signature is wrong: none of the app's enabled access keys makes it for "
            f"{request.target.decode('ascii', 'replace')!r}. Sign path and query exactly as they "
            "are sent, and check the secret.",
        )


def _milliseconds(timestamp: str) -> int:
    # As in Apollo, a timestamp that is not a number is the beginning of time.
    digits = timestamp.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) < 20
    return int(timestamp) if plain else 0


def _skewed(timestamp: str, skew: int) -> str:
    if not timestamp:
        return "The header `Timestamp` is missing: send milliseconds since the epoch."
    side = "behind" if skew > 0 else "ahead of"
    return (
        f"The header `Timestamp`, {timestamp[:32]!r}, is {abs(skew) / 1000:.0f} s {side} this "
        f"server's clock; less than {TOLERANCE // 1000} s are allowed. Set the client's clock."
    )
