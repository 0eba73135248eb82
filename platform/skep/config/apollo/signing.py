"""The signature by which a config server knows that a request comes from its app.

The signature covers the exact bytes of path and query as the server sees them. Which of several
secrets the server accepts, whether a proxy removes the base URL's path, and how far the server's
clock is from ours, is found by trying and remembered.
"""

import base64
import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import product
from pathlib import Path
from urllib.parse import quote

# The server accepts less than 60 s of difference; `Date` is in whole seconds and the request takes
# time.
_TOLERATED = 30.0


log = logging.getLogger(__name__)


class AccessKey:
    """One app and its secrets; while one is exchanged for another there are two.

    A file holds one secret a line and is read again before a signing when it has changed, so that a
    new secret needs no restart. If it cannot be read, its last secrets count, and `trouble` says
    why.
    """

    def __init__(self, app_id: str, secrets: Sequence[str] = (), file: str = "") -> None:
        self.app_id = app_id
        self.trouble = ""
        self._given = tuple(secrets)
        self._path = Path(file) if file else None
        self._seen: tuple[int, ...] = ()
        self._read: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._given or self._path)

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets as they are now, those of the file first."""
        if self._path is not None:
            self._look(self._path)
        return tuple(dict.fromkeys((*self._read, *self._given)))

    def _look(self, path: Path) -> None:
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                lines = path.read_text(encoding="utf-8").splitlines()
                self._read = tuple(line.strip() for line in lines if line.strip())
                self._seen = seen
            trouble = "" if self._read else f"{path} holds no secret"
        except OSError as error:
            trouble = f"{path} cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            trouble = f"{path} is not UTF-8 text"
        if trouble and trouble != self.trouble:
            log.warning("The file of the config server's secrets cannot be used: %s.", trouble)
        self.trouble = trouble


def signature(secret: str, timestamp: str, target: str) -> str:
    """Return the signature of a request; `timestamp` is in milliseconds since the epoch, `target`
    path and query as they are on the request line."""
    text = f"{timestamp}\n{target}"
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


@dataclass(frozen=True)
class Variant:
    """One way to sign: with which secret, and whether the path of the base URL is signed too."""

    secret: str
    whole: bool


class Signer:
    """Signs the requests to one server; `prefix` is the path of its base URL.

    `offset` is by how many seconds the server's clock is ahead of ours, as far as that mattered,
    `accepted` is the variant that the server accepted last, `refused` the secrets it refused.
    """

    def __init__(self, key: AccessKey, prefix: str) -> None:
        self.key = key
        self.prefix = prefix.rstrip("/")
        self.offset = 0.0
        self.accepted: Variant | None = None
        self.refused: tuple[str, ...] = ()
        self._turn = 0

    def begin(self) -> "SigningAttempts | None":
        """Return the ways to sign the next request; None without a secret."""
        secrets = self.key.secrets()
        paths = (True, False) if self.prefix else (True,)
        variants = [Variant(*pair) for pair in product(secrets, paths)]
        if not variants:
            return None
        if secrets == self.refused:
            # All were refused: from now on try one a request, to spare the server.
            self._turn += 1
            variants = [variants[self._turn % len(variants)]]
        variants.sort(key=lambda variant: variant != self.accepted)
        return SigningAttempts(self, variants, secrets)


class SigningAttempts:
    """The ways to sign one request that are left. `signed` is what the last one signed."""

    def __init__(self, signer: Signer, variants: list[Variant], secrets: tuple[str, ...]) -> None:
        self.signer = signer
        self.signed = ""
        self._variants = variants
        self._secrets = secrets
        self._corrected = False

    def headers(self, target: str, now: float) -> dict[str, str]:
        """Return the headers that sign a request for `target`; `now` is in epoch seconds."""
        key, variant = self.signer.key, self._variants[0]
        timestamp = str(round((now + self.signer.offset) * 1000))
        target = target if variant.whole else target.removeprefix(self.signer.prefix)
        self.signed = f"{timestamp}\n{target}"
        proof = signature(variant.secret, timestamp, target)
        # The server reads the app from the path; a header cannot hold every app id.
        app_id = quote(key.app_id, safe="")
        return {"Authorization": f"Apollo {app_id}:{proof}", "Timestamp": timestamp}

    def accepted(self) -> None:
        """Remember that the server accepted the last try."""
        self.signer.accepted, self.signer.refused = self._variants[0], ()

    def again(self, date: str, now: float) -> bool:
        """After a 401 with this `Date`, return whether there is anything else to try."""
        skew = clock_skew(date, now)
        if not self._corrected and abs(skew - self.signer.offset) > _TOLERATED:
            self._corrected, self.signer.offset = True, skew
            return True
        if len(self._variants) > 1:
            del self._variants[0]
            return True
        self.signer.refused = self._secrets
        return False


def clock_skew(date: str, now: float) -> float:
    """Return by how many seconds a `Date` header is ahead of `now`; 0 if it is not a date."""
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
