"""The effective configuration in the formats of other programs.

A value that the reader of a format would not return unchanged is refused by the name of its key,
and nothing is written. No shell that sources any of these files runs a part of a value:

shell    single quotes, in which nothing has a meaning
dotenv   single quotes, or double quotes without a special `$` or backtick
systemd  double quotes with `$` and backtick escaped
json     `$` and backtick as `\\u0024` and `\\u0060`
k8s      base64
docker   has no quotes, so a line before the first value makes the shell return
"""

import base64
import json
import re
from collections.abc import Callable, Mapping

from skep.base.errors import ConfigError
from skep.config.env import dotenv

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Variables that shells reserve. Assigning to some is an error, to others an arithmetic expression,
# which may run commands: RANDOM='a[$(reboot)]'.
_SHELL_OWN = re.compile(
    r"(?:_|BASH\w*|COMP_\w+|COPROC|DIRSTACK|ENV|EPOCHREALTIME|EPOCHSECONDS|EUID|FUNCNAME|GROUPS"
    r"|HISTCMD|LINENO|MAILCHECK|OLDPWD|OPTARG|OPTIND|PIPESTATUS|PPID|PS[0-4]|PROMPT_COMMAND|PWD"
    r"|RANDOM|READLINE_\w+|REPLY|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|IFS)\Z"
)
# Docker reads lines with Go's bufio.Scanner, which ends at 64 KiB.
_DOCKER_LINE = 65_534
# A shell stops here; to docker these are names of variables to pass on if they are set.
_STOP = "return\nexit\n"


class _Unfit(Exception):
    """A value cannot be written in a format; the text says why."""


def _lines(values: Mapping[str, str], line: Callable[[str, str], str]) -> str:
    return "".join(f"{text}\n" for text in _written(values, line))


def _written(values: Mapping[str, str], line: Callable[[str, str], str]) -> list[str]:
    written, unfit = [], []
    for key, value in sorted(values.items()):
        try:
            _check(key, value)
            written.append(line(key, value))
        except _Unfit as error:
            unfit.append(f"{key} ({error})")
    if unfit:
        raise ConfigError(
            f"The format cannot hold {', '.join(unfit)}. Nothing was written; json and k8s hold "
            "every value."
        )
    return written


def _check(key: str, value: str) -> None:
    if not _NAME.match(key):
        raise _Unfit("it is not a name of an environment variable")
    if "\0" in value:
        raise _Unfit("it contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unfit("it is not Unicode text") from None


def _shell(key: str, value: str) -> str:
    if _SHELL_OWN.match(key):
        raise _Unfit("shells use this name themselves")
    quoted = value.replace("'", "'\\''")
    return f"export {key}='{quoted}'"


def _dotenv(key: str, value: str) -> str:
    _check_inert(key, value)
    quoted = dotenv.quote(value)
    if quoted[:1] != '"' or not re.search(r"[$`]", quoted):
        return f"{key}={quoted}"
    if "'" not in value and "\r" not in value:
        quoted = value.replace("${", "${:-$}{").replace("\\", "\\\\")
        return f"{key}='{quoted}'"
    if "`" in value:
        raise _Unfit("a shell would run what is between its backticks")
    # To python-dotenv `${:-$}` is a dollar, to a shell an error.
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'{key}="{escaped.replace("$", "${:-$}")}"'


def _docker(key: str, value: str) -> str:
    if re.search(r"[\r\n]", value):
        raise _Unfit("it has more than one line")
    if len(f"{key}={value}".encode()) > _DOCKER_LINE:
        raise _Unfit("it is longer than 64 KiB")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        raise _Unfit("it stands in quotes, which some versions take away")
    return f"{key}={value}"


def _systemd(key: str, value: str) -> str:
    _check_inert(key, value)
    if bad := next((c for c in value if _is_noncharacter(ord(c))), ""):
        raise _Unfit(f"systemd takes U+{ord(bad):04X} for no character")
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'{key}="{escaped}"'


def _json(key: str, value: str) -> str:
    text = f"  {json.dumps(key)}: {json.dumps(value)}"
    return text.replace("$", "\\u0024").replace("`", "\\u0060")


def _k8s(key: str, value: str) -> str:
    return f"  {key}: {base64.b64encode(value.encode()).decode()!r}"


def _check_inert(key: str, value: str) -> None:
    """Refuse anything but a plain number for a name that shells evaluate."""
    if _SHELL_OWN.match(key) and not re.fullmatch(r"[0-9]*", value):
        raise _Unfit("a shell that reads the file would evaluate it")


def _is_noncharacter(point: int) -> bool:
    return 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE


def _for(
    reader: str, line: Callable[[str, str], str], start: str = ""
) -> Callable[[Mapping[str, str]], str]:
    head = f"# made by `platform env export`, for {reader}\n{start}"
    return lambda values: head + _lines(values, line)


def _json_object(values: Mapping[str, str]) -> str:
    members = _written(values, _json)
    return "{\n" + ",\n".join(members) + "\n}\n" if members else "{}\n"


def _k8s_secret(values: Mapping[str, str]) -> str:
    head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: platform-config\ntype: Opaque\n"
    return head + ("data:\n" + _lines(values, _k8s) if values else "data: {}\n")


FORMATS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": _for("python-dotenv", _dotenv),
    "shell": _for("shells", _shell),
    "docker": _for("docker --env-file", _docker, start=_STOP),
    "systemd": _for("systemd's EnvironmentFile=", _systemd),
    "json": _json_object,
    "k8s": _k8s_secret,
}
