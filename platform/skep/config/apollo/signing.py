"""The signature by which a config server knows that a request comes from its app.

The signature covers the exact bytes of path and query as the server sees them. Which of several
secrets the server accepts, whether a proxy removes the base URL's path, and how far the server's
clock is from ours, is found by trying and remembered.
"""

import base64
import hmac
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import product
from urllib.parse import quote

from skep.config.apollo.access_key import AccessKey

# The server accepts less than 60 s of difference; `Date` is in whole seconds and the request takes
# time.
_TOLERATED = 30.0


def string_to_sign(timestamp: str, target: str) -> str:
    """Return what is signed; `target` is path and query as they are on the request line."""
    return f"{timestamp}\n{target}"


def signature(secret: str, timestamp: str, target: str) -> str:
    """Return the signature of a request; `timestamp` is in milliseconds since the epoch."""
    text = string_to_sign(timestamp, target)
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


@dataclass(frozen=True)
class Variant:
    """One way to sign: with which secret, and whether the path of the base URL is signed too."""

    secret: str
    whole: bool


class Signer:
    """Signs the requests to one server; `prefix` is the path of its base URL.

    `offset` is by how many seconds the server's clock is ahead of ours, as far as that mattered.
    """

    def __init__(self, key: AccessKey, prefix: str) -> None:
        self.key = key
        self.offset = 0.0
        self._prefix = prefix.rstrip("/")
        self._believed: Variant | None = None
        self._refused: tuple[str, ...] = ()
        self._turn = 0

    def begin(self) -> "Round | None":
        """Return the tries of the next request; None without a secret."""
        secrets = self.key.secrets()
        paths = (True, False) if self._prefix else (True,)
        variants = [Variant(*pair) for pair in product(secrets, paths)]
        if not variants:
            return None
        if secrets == self._refused:
            # All were refused: from now on try one a request, to spare the server.
            self._turn += 1
            variants = [variants[self._turn % len(variants)]]
        variants.sort(key=lambda variant: variant != self._believed)
        return Round(self, variants, secrets)

    def target(self, variant: Variant, target: str) -> str:
        """Return the part of the target that is signed."""
        return target if variant.whole else target.removeprefix(self._prefix)

    def believed(self, variant: Variant) -> None:
        """Remember what the server accepted."""
        self._believed, self._refused = variant, ()

    def refused(self, secrets: tuple[str, ...]) -> None:
        """Remember that the server accepted none of these."""
        self._refused = secrets


class Round:
    """The tries of one request. `signed` is what the last one signed."""

    def __init__(self, signer: Signer, variants: list[Variant], secrets: tuple[str, ...]) -> None:
        self._signer = signer
        self._variants = variants
        self._secrets = secrets
        self._corrected = False
        self.signed = ""

    @property
    def offset(self) -> float:
        """By how many seconds the server's clock is taken to be ahead of ours."""
        return self._signer.offset

    def headers(self, target: str, now: float) -> dict[str, str]:
        """Return the headers that sign a request for `target`; `now` is in epoch seconds."""
        key, variant = self._signer.key, self._variants[0]
        timestamp = str(round((now + self._signer.offset) * 1000))
        target = self._signer.target(variant, target)
        self.signed = string_to_sign(timestamp, target)
        proof = signature(variant.secret, timestamp, target)
        # The server reads the app from the path; a header cannot hold every app id.
        app_id = quote(key.app_id, safe="")
        return {"Authorization": f"Apollo {app_id}:{proof}", "Timestamp": timestamp}

    def accepted(self) -> None:
        """Remember that the server accepted the last try."""
        self._signer.believed(self._variants[0])

    def again(self, date: str, now: float) -> bool:
        """After a 401 with this `Date`, return whether there is anything else to try."""
        skew = clock_skew(date, now)
        if not self._corrected and abs(skew - self._signer.offset) > _TOLERATED:
            self._corrected, self._signer.offset = True, skew
            return True
        if len(self._variants) > 1:
            del self._variants[0]
            return True
        self._signer.refused(self._secrets)
        return False


def clock_skew(date: str, now: float) -> float:
    """Return by how many seconds a `Date` header is ahead of `now`; 0 if it is none."""
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
