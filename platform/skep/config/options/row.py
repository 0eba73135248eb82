"""How a setting of the platform is declared, and how a value for it is read and checked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Literal, get_origin

from skep.base.errors import UsageError
from skep.base.logs.masking import mask_url

Change = Literal["live", "rollout", "restart"]
# `.env.local` is a layer of its own, and `.env.staging.local` is one too.
_NAME = re.compile(r"(?!(?:.*\.)?local\Z)[A-Za-z0-9_.-]*")
# A path that can stand before others without being quoted.
PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+")
# Every peer on a unix socket, and every peer.
_NETWORKS = ("unix", "*")
# The form of a text, by its name in the help.
_FORMS = {
    "HOST": (
        re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:.]+"),
        "names like metrics.internal, without a port",
    ),
    "MODE": (re.compile(r"0?[0-7]{3}"), "three octal digits like 660, at most 777"),
    "ORIGIN": (
        re.compile(r"\*|null|https?://[A-Za-z0-9_.:\[\]-]+"),
        "origins like https://shop.example, or *",
    ),
    "PREFIX": (
        re.compile(rf"(?:{PREFIX.pattern})?"),
        "a path like /shop, without a slash at its end",
    ),
}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _declared(change: Change, **always: Any) -> Callable[..., Any]:
    def declare(default: Any, text: str, *, shown: bool = True, **more: Any) -> Any:
        metadata = {"text": text, "change": change, **always, **more}
        return field(default=default, repr=shown, metadata=metadata)

    return declare


# These declare a setting by what a change of it takes: `rollout(default, meaning, …)`; for the rest
# see `OptionRow`. One of the machine takes a restart, and the config service cannot set it.
live, rollout, restart = _declared("live"), _declared("rollout"), _declared("restart")
machine = _declared("restart", machine_only=True)


@dataclass(frozen=True)
class OptionRow:
    """One setting as the command line and the reference page show it.

    `flag` is False for a setting with a key only; `short` is a short flag. `aliases` are the names
    of the key in other clients of Apollo, `flag_alias` that of the flag in LaravelS or with
    the verb `config-server`. A value is one of `words` if there are any, and from `low` to `high`
    if it is a number. The config service cannot set a key that is `machine_only`.
    """

    name: str
    type: Any
    default: Any
    text: str
    change: Change
    flag: bool = True
    flag_alias: str = ""
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    short: str = ""
    words: tuple[str, ...] = ()
    low: float = 0
    high: float = float("inf")
    machine_only: bool = False

    @property
    def key(self) -> str:
        """The key of the environment."""
        return f"PLATFORM_{self.name.upper()}"


def given(row: OptionRow, value: Any) -> Any:
    """Return the value of a flag; one that can be repeated also takes a list."""
    return _parts(",".join(value)) if get_origin(row.type) is tuple else value


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read(row: OptionRow, key: str, text: str) -> Any:
    """Return the value that the text of `key` means. Raises UsageError naming the key."""
    if get_origin(row.type) is tuple:
        return _parts(text)
    if row.type is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"{key} is {text!r}; it takes true or false.")
    try:
        return row.type(text)
    except ValueError:
        word = {"int": "a whole number", "float": "a number"}[row.type.__name__]
        raise UsageError(f"{key} is {text!r}; it takes {word}.") from None


def check(row: OptionRow, value: Any) -> None:
    """Raise UsageError if the row cannot have this value."""
    if row.metavar == "NAME" and not _NAME.fullmatch(value):
        text = f"{row.key} is {value!r}; it takes a word like `staging`, but not `local`."
        raise UsageError(text)
    if row.metavar == "URL":
        for url in value:
            if not re.match(r"https?://[^/]", url):
                text = f"{row.key} is {mask_url(url)!r}; it takes an address like http://host:8080."
                raise UsageError(text)
    if row.words:
        _check_words(row, value)
    if row.metavar == "NETWORK":
        _check_networks(row, value)
    if row.metavar in _FORMS:
        form, accepted = _FORMS[row.metavar]
        for text in value if isinstance(value, tuple) else (value,):
            if not form.fullmatch(text):
                raise UsageError(f"{row.key} is {text!r}; it takes {accepted}.")
    if row.type in (int, float) and not row.low <= value <= row.high:
        raise UsageError(f"{row.key} is {value}; it takes a number from {row.low} to {row.high}.")


def _check_words(row: OptionRow, value: Any) -> None:
    several = isinstance(value, tuple)
    number = "one or more" if several else "one"
    for word in (value or ("",)) if several else (value,):
        if word not in row.words:
            text = f"{row.key} is {word!r}; it takes {number} of: {', '.join(row.words)}."
            raise UsageError(text)


def _check_networks(row: OptionRow, networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ip_network("::" if network in _NETWORKS else network)
        except ValueError as error:
            text = f"{row.key} holds {network!r}; it takes 10.0.0.1, 10.0.0.0/8, unix, *."
            raise UsageError(text) from error
