"""Keep secrets out of what people read: by the name of a key and by known values."""

import re
from collections.abc import Iterable, Mapping

MASK = "******"

_SECRET_NAME = (
    r"(?:password|passwd|passphrase|secret|token|credential|dsn|authorization"
    r"|(?:private|api|access|auth)[._-]?key)"
)
_SECRET_KEY = re.compile(rf"(?i){_SECRET_NAME}")
# Texts may be long, and whoever logs or shows them has no time: so no search begins at more places
# than it has to, nor looks farther from each.
_ASSIGNMENT = re.compile(
    rf"(?i)(?P<key>{_SECRET_NAME}[\w.-]{{0,100}}[\"']?\s*[=:]\s*)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|(?:bearer\s+|basic\s+)?[^\s,;&\"']+)"
)
_USERINFO = re.compile(r"(?<=[a-zA-Z0-9+.-]://)[^\s/@]+@")
# A secret as short as this would be found everywhere, and blanking it would garble every line.
_SHORTEST = 6


def is_secret(key: str) -> bool:
    """Say whether a setting of this name is one to hide: `DB_PASSWORD`, `api-key`, `MAIL_DSN`."""
    return _SECRET_KEY.search(key) is not None


def mask_url(url: str) -> str:
    """Return the URL without its user and password."""
    return _USERINFO.sub("", url) if "://" in url else url


def mask_value(key: str, value: str) -> str:
    """Return a value as it may be shown next to its key."""
    return MASK if is_secret(key) else _ASSIGNMENT.sub(rf"\g<key>{MASK}", mask_url(value))


class Masker:
    """Masks text: `key=value` with a secret's name, userinfo in URLs, and known secret values."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({v for v in values if len(v) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Masker":
        """Make a masker that knows the values of the environment's secret keys."""
        return cls(value for key, value in environment.items() if is_secret(key))

    def __call__(self, text: str) -> str:
        """Return the text with every secret it can find replaced by `******`."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        if "://" in text:
            text = _USERINFO.sub(f"{MASK}@", text)
        return _ASSIGNMENT.sub(rf"\g<key>{MASK}", text)
