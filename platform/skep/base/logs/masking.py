"""Keep secrets out of what people read: by declaration, by name, by shape, and by known values.

- By declaration: keys of Settings fields that are declared secret, and PLATFORM_SECRET_NAMES. Both
  arrive through `declare`.
- By name: `DB_PASSWORD`, `MAIL_PWD`, `api-key`; the words are below and in the documentation.
- By shape, whatever the name: private keys in PEM, JSON web tokens, keys with the prefix of a
  well-known service, credentials in URLs, URLs of webhooks. A value of the configuration that is
  shown beside its key also when it looks random.
- By known values: those of secret keys of the environment, wherever they stand in a text.

Texts may be long, and the process that logs or shows one must not wait for it: no search begins at
more places than it has to, nor looks farther from each, so the time grows with the length alone.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

MASK = "******"

# A name that contains one of these is secret.
_PARTS = (
    r"password|passwd|passphrase|passcode|secret|token|credential|dsn|authorization|webhook"
    r"|otlp(?:[._-]traces)?[._-]headers"  # OpenTelemetry's: what the collector knows us by
    r"|(?:private|api|access|auth|account|client|shared|master)[._-]?key|connection[._-]?string"
)
# A name that has one of these as a word of its own is secret: MAIL_PWD, tls.pem, salt.
_WORDS = "pwd|pass|pw|salt|pepper|pem|pfx|p12|pin|otp|totp|jwt|bearer|cookie|hook|sas|hmac"
# `*_KEY` is secret, unless it names or sorts and opens nothing: PUBLIC_KEY, CACHE_KEY.
_OPEN = "public primary foreign partition sort shard release cache unique concurrency idempotency"
# What may follow the last word: DB_PWD_2, AES_KEY_OLD, HOOK_URL.
_AFTER = re.compile(r"\d+|v\d+|old|new|current|previous|next|base64|b64|hex|urls?")
# The working directory in shells, two paths and a list of names.
_NOT_SECRET = frozenset(
    {"PWD", "OLDPWD", "PLATFORM_TLS_KEY", "PLATFORM_CONFIG_SECRET_FILE", "PLATFORM_SECRET_NAMES"}
)
_SECRET_PART = re.compile(rf"(?i){_PARTS}")
_SECRET_WORD = re.compile(_WORDS)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# A name and what stands between it and its value; the value is matched only if the name is secret.
_NAME = re.compile(r"(?<![\w.-])([\w.-]++)\\{0,3}[\"']?\s*+[=:]\s*+")
_VALUE = re.compile(r"\\+\"[^\"]*\"|\"[^\"]*\"|'[^']*'|(?:(?i:bearer|basic)\s+)?[^\s,;&\"']+")
_URL = re.compile(r"(?<=://)[^\s\"'<>\\]+")
_HOOK = re.compile(r"(?i)\A[^/]*hook[^/]*/.|hook[^/]*/.{8}|\Aapi\.telegram\.org/bot")
_PARAMETER = re.compile(r"(?i)(?<=[?&])(key|sig|signature|auth|code|sv)=[^&#]+")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----[^\"]*?"
    r"(?:-----END [A-Z0-9 ]{0,60}-----|(?=\")|\Z)"
)
_SHAPE = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]*+"  # a JSON web token
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?:gh[pousr]|npm|hf|shpat|shpss|shpca|whsec|dop_v1|[sr]k_live|[sr]k_test)_[A-Za-z0-9]{16,}+"
    r"|github_pat_\w{20,}+|glpat-[\w-]{16,}+|xox[abeoprs]-[\w-]{10,}+|sk-[\w-]{20,}+"
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+|AGE-SECRET-KEY-1[A-Z0-9]{30,}+"
    r")"
)
_RUN = re.compile(r"[A-Za-z0-9]+")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_ALPHABET = re.compile(r"[A-Za-z0-9+/_=.~-]{20,500}\Z")
_PATH = re.compile(r"[./~]|[a-zA-Z][a-zA-Z0-9+.-]{0,20}://")
_SPACES = re.compile(r"[\s,;]+")
# A secret as short as this would be found everywhere, and blanking it would garble every line.
_SHORTEST = 6
_LONGEST_NAME = 200

# The names that are declared secret in this process, and patterns of them. Module state, because
# values are shown from everywhere and a process masks in one way. It only grows: what was secret
# under an earlier configuration may still stand in its history.
_declared: set[str] = set()
_patterns: list[re.Pattern[str]] = []


def declare(names: Iterable[str]) -> None:
    """Treat these keys as secret from now on, in any case; `*` stands for any text."""
    for name in {name.upper() for name in names if name} - _declared:
        _declared.add(name)
        is_secret.cache_clear()
        if "*" in name:
            _patterns.append(re.compile(".*".join(map(re.escape, name.split("*")))))


def declared() -> list[str]:
    return sorted(_declared)


@lru_cache(maxsize=4096)
def is_secret(key: str) -> bool:
    """Return whether a key is declared secret, or has a name like `DB_PASSWORD` or `mail.pwd`."""
    name = key.upper()
    if name in _declared or any(pattern.fullmatch(name) for pattern in _patterns):
        return True
    if key in _NOT_SECRET:
        return False
    if _SECRET_PART.search(key):
        return True
    words = [word.lower() for word in _WORD.findall(key)]
    while words and _AFTER.fullmatch(words[-1]):
        words.pop()
    if any(map(_SECRET_WORD.fullmatch, words)):
        return True
    return words[-1:] in (["key"], ["keys"]) and len(words) > 1 and words[-2] not in _OPEN.split()


def mask_url(url: str) -> str:
    """Return the URL without its user and password."""
    return _URL.sub(lambda found: _without_user(found[0]), url)


def mask_value(key: str, value: str) -> str:
    """Return a value as it may be shown next to its key."""
    if is_secret(key) or any(map(_looks_random, _SPACES.split(value))):
        return MASK
    return _mask_shapes(mask_url(value))


def mask_document(value: Any, key: str = "") -> Any:
    """Return a JSON document with every secret text in it masked, by the names of its fields."""
    match value:
        case dict():
            return {name: mask_document(part, name) for name, part in value.items()}
        case list():
            return [mask_document(part, key) for part in value]
        case str() if not is_secret(key):
            return _mask_shapes(value)  # not by randomness: ids of deliveries look random too
    return MASK if value is not None and is_secret(key) else value


def secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the values that must not be shown: of secret keys, and the passwords in URLs."""
    found = {value for key, value in environment.items() if is_secret(key)}
    for value in environment.values():
        for url in _URL.findall(value):
            user, at, _ = _authority(url).rpartition("@")
            found.add(user.partition(":")[2] if at else "")
    return frozenset(value for value in found if len(value) >= _SHORTEST)


class Masker:
    """Masks text: `key=value` with a secret's name, secret shapes, and known secret values."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({v for v in values if len(v) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """Return the text with every secret it can find replaced by `******`."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _mask_shapes(text)


def _mask_shapes(text: str) -> str:
    if "-----BEGIN " in text:
        text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _URL.sub(lambda found: _masked_url(found[0]), text)
    return _mask_assignments(_SHAPE.sub(MASK, text))


def _mask_assignments(text: str) -> str:
    parts, end = [], 0
    for name in _NAME.finditer(text):
        if name.start() < end or not is_secret(name[1][-_LONGEST_NAME:]):
            continue
        if value := _VALUE.match(text, name.end()):
            parts += [text[end : name.end()], MASK]
            end = value.end()
    return "".join(parts) + text[end:] if parts else text


def _masked_url(url: str) -> str:
    """Return what follows the scheme of a URL without what opens anything."""
    bare = _without_user(url)
    shown = bare if bare == url else f"{MASK}@{bare}"
    if _HOOK.search(bare):
        return f"{shown.partition('/')[0]}/{MASK}"
    return _PARAMETER.sub(rf"\1={MASK}", shown)


def _without_user(url: str) -> str:
    authority = _authority(url)
    return authority.rpartition("@")[2] + url[len(authority) :]


def _authority(url: str) -> str:
    """Return user, password, host and port of what follows the scheme of a URL."""
    return re.split(r"[/?#]", url, maxsplit=1)[0]


def _looks_random(text: str) -> bool:
    """Return whether a value looks like a key: long, no path, letters and digits in no order."""
    if not _ALPHABET.match(text) or _PATH.match(text) or _UUID.match(text):
        return False
    run = max(_RUN.findall(text), key=len, default="")
    together = _SEPARATORS.sub("", text)
    # In one piece, or in many as Base64 writes it, with capitals, small letters and digits.
    return _is_mixed(run) or (len(set(map(_class, together))) == 3 and _is_mixed(together))


def _is_mixed(text: str) -> bool:
    digits = sum(map(str.isdigit, text))
    if len(text) < 16 or digits < 2 or len(text) - digits < 2:
        return False
    changes = sum(_class(one) != _class(other) for one, other in pairwise(text))
    return changes / len(text) > 0.3


def _class(character: str) -> int:
    return character.isdigit() + 2 * character.isupper()
