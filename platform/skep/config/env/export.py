"""The effective configuration, written for those who do not read python-dotenv's language.

Each format has a reader whose rules decide what a value may be; a value that a reader would not
give back is refused by the name of its key, and then nothing is written at all. No shell that is
made to `source` any of these files runs a part of a value:

shell    single quotes, in which nothing has a meaning
dotenv   single quotes, or double quotes without `$` and backtick that mean anything
systemd  double quotes with `$` and backtick escaped
json     `$` and backtick as `\\u0024` and `\\u0060`
k8s      base64
docker   knows no quotes, so a line before the first value makes the shell return
"""

import base64
import json
import re
from collections.abc import Callable, Mapping

from skep.base.errors import ConfigError
from skep.config.env import dotenv

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Variables that shells keep for themselves. Assigning to some is an error, to others an arithmetic
# expression, which may run commands: RANDOM='a[$(reboot)]'.
_SHELL_OWN = re.compile(
    r"(?:_|BASH\w*|COMP_\w+|COPROC|DIRSTACK|ENV|EPOCHREALTIME|EPOCHSECONDS|EUID|FUNCNAME|GROUPS"
    r"|HISTCMD|LINENO|MAILCHECK|OLDPWD|OPTARG|OPTIND|PIPESTATUS|PPID|PS[0-4]|PROMPT_COMMAND|PWD"
    r"|RANDOM|READLINE_\w+|REPLY|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID|IFS)\Z"
)
# Docker reads lines with Go's bufio.Scanner, which ends at 64 KiB.
_DOCKER_LINE = 65_534
# What neither docker nor a shell can do anything with but stop: to docker it is the name of a
# variable that is passed on if it is set, which these are not.
_STOP = "return\nexit\n"
_NOTE = "# made by `platform env export`, for {}\n"


def shell(values: Mapping[str, str]) -> str:
    """Return lines for `source` and `.`, in bash, dash and every other POSIX shell."""
    return _NOTE.format("shells") + _lines(values, _shell)


def env_file(values: Mapping[str, str]) -> str:
    """Return lines for python-dotenv and what reads like it."""
    return _NOTE.format("python-dotenv") + _lines(values, _dotenv)


def docker(values: Mapping[str, str]) -> str:
    """Return lines for `docker run --env-file`, podman and `env_file:` of compose."""
    return _NOTE.format("docker --env-file") + _STOP + _lines(values, _docker)


def systemd(values: Mapping[str, str]) -> str:
    """Return lines for `EnvironmentFile=` of a systemd unit."""
    return _NOTE.format("systemd's EnvironmentFile=") + _lines(values, _systemd)


def json_text(values: Mapping[str, str]) -> str:
    """Return one JSON object."""
    members = _written(values, _json)
    return "{\n" + ",\n".join(members) + "\n}\n" if members else "{}\n"


def k8s(values: Mapping[str, str], name: str = "platform-config") -> str:
    """Return the manifest of a Secret of this name, for `envFrom:` of a container."""
    head = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: Opaque\n"
    return head + ("data:\n" + _lines(values, _k8s) if values else "data: {}\n")


FORMATS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "dotenv": env_file,
    "shell": shell,
    "docker": docker,
    "systemd": systemd,
    "json": json_text,
    "k8s": k8s,
}


class _Unfit(Exception):
    """A value cannot be written in a format; the text says why."""


def _lines(values: Mapping[str, str], line: Callable[[str, str], str]) -> str:
    return "".join(f"{text}\n" for text in _written(values, line))


def _written(values: Mapping[str, str], line: Callable[[str, str], str]) -> list[str]:
    """Return a line for each value. Raises ConfigError naming every key that cannot be written."""
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
        raise _Unfit("it is no name for an environment variable")
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
    """Names that shells evaluate get plain numbers or nothing."""
    if _SHELL_OWN.match(key) and not re.fullmatch(r"[0-9]*", value):
        raise _Unfit("a shell that reads the file would evaluate it")


def _is_noncharacter(point: int) -> bool:
    return 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE
