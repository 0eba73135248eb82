"""Which layer of the environment wins.

From the strongest: the process environment as it was when the platform started, `.env.local`, the
remote config (the managed block of `.env`), the hand-written lines of `.env`. Defaults are weaker
than all of these and live in the Settings classes. A key has one winner, whatever its case; see
`skep.config.options.spelling`.

Nothing is interpolated here. Remote values are literals: what was published is what a worker sees,
`${…}` included. Only the lines a person wrote (`.env`, `.env.local`) have had their `${NAME}`
replaced by `dotenv.hand_written`, from earlier lines of the same file and the process environment,
as python-dotenv does everywhere else.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from skep.base.errors import ConfigError
from skep.config.env import dotenv
from skep.config.errors import Unusable
from skep.config.options.spelling import fold, folded, merged, spellings
from skep.config.options.table import rows

Layer = Literal["environment", ".env.local", "remote", ".env"]

# Each of these makes a process run code, or read, trust or write something of the setter's choice.
# The operating system and the libraries know them in this case only.
_FOREIGN = re.compile(
    # The interpreter, the dynamic linker, and what glibc strips from setuid programs.
    r"(?:PYTHON.*|LD_.*|DYLD_.*|MALLOC_.*|GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES"
    r"|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RESOLV_HOST_CONF|RES_OPTIONS|TMPDIR|TZDIR"
    # What shells read before their first command and with every prompt.
    r"|PATH|SHELL|ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS[0-4]|PROMPT_COMMAND|IFS"
    # Which authorities are believed, and through whom requests go.
    r"|OPENSSL_CONF|OPENSSL_MODULES|OPENSSL_ENGINES|SSL_CERT_FILE|SSL_CERT_DIR|SSLKEYLOGFILE"
    r"|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|CURL_HOME|NETRC|KRB5_CONFIG"
    r"|(?i:(?:HTTP|HTTPS|FTP|WS|WSS|ALL|NO)_PROXY)"
    # Other interpreters, and the programs that tools start.
    r"|PERL5OPT|PERL5LIB|PERLLIB|PERL5DB|RUBYOPT|RUBYLIB|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS"
    r"|CLASSPATH|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS"
    r"|GIT_SSH|GIT_SSH_COMMAND|GIT_EXEC_PATH|GIT_ASKPASS|GIT_CONFIG.*|GIT_EXTERNAL_DIFF|GIT_PAGER"
    r"|GIT_EDITOR|GIT_TEMPLATE_DIR|SSH_ASKPASS|EDITOR|VISUAL|PAGER|BROWSER|LESSOPEN|LESSCLOSE)\Z"
)
_OWN = frozenset(row.key for row in rows() if row.machine_only)


def is_machine_only(name: str) -> bool:
    """Return whether only this machine may set a variable."""
    return fold(name) in _OWN or _FOREIGN.match(name) is not None


def check_remote(names: Iterable[str]) -> None:
    """Raise Unusable, naming the key, if the remote config sets what it must not."""
    for name in names:
        if is_machine_only(name):
            raise Unusable(
                f"The remote config sets {name}, which only this machine may set, because it "
                "chooses what is run, read, shown or written here: set it in the process "
                "environment or in .env.local.",
                "denied",
            )


@dataclass(frozen=True)
class Layers:
    """The layers of the environment, each already parsed."""

    base: Mapping[str, str] = field(repr=False)
    local: Mapping[str, str] = field(repr=False)
    remote: Mapping[str, str] = field(repr=False)
    hand_written: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(
        cls, env_file: Path, base: Mapping[str, str], remote: Mapping[str, str] | None = None
    ) -> "Layers":
        """Read the files as they are now: `.env`, and beside it `.env.local`.

        Without `remote` the managed block of `.env` is used. Raises ConfigError, also when a file
        gives two spellings of one key different values.
        """
        text = dotenv.read(env_file)
        local = env_file.with_name(f"{env_file.name}.local")
        return cls(
            base=base,
            local=_lines(dotenv.read(local), base, local),
            remote=dotenv.managed(text, str(env_file)) if remote is None else remote,
            hand_written=_lines(text, base, env_file),
        )

    def without_machine_only(self) -> "Layers":
        """Return the layers without what the remote config must not set: an earlier version may
        have written it into the managed block."""
        remote = {key: value for key, value in self.remote.items() if not is_machine_only(key)}
        return replace(self, remote=remote)

    def configured(self) -> dict[str, str]:
        """Return the values of the files, without the process environment."""
        return merged((self.hand_written, self.remote, self.local))

    def resolve(self) -> dict[str, str]:
        """Return the environment of a worker. Raises Unusable if the remote layer sets a key it
        must not."""
        check_remote(self.remote)
        self._check_spellings()
        # The process environment stays as it is, even with two spellings of a key.
        return merged((self.hand_written, self.remote, self.local, self.base)) | dict(self.base)

    def winners(self) -> dict[str, Layer]:
        """Return the layer that wins, by folded key."""
        found: dict[str, Layer] = {}
        for layer, values in self.ordered():
            for key in values:
                found.setdefault(fold(key), layer)
        return found

    def ordered(self) -> list[tuple[Layer, Mapping[str, str]]]:
        """Return the layers with their names, the strongest first."""
        return [
            ("environment", self.base),
            (".env.local", self.local),
            ("remote", self.remote),
            (".env", self.hand_written),
        ]

    def _check_spellings(self) -> None:
        """Raise Unusable where `.env` sets `ENV` and the remote config `env`: one winner would give
        a variable of the operating system a remote value."""
        remote, local = folded(self.remote), folded(self.local)
        for name in self.hand_written:
            if is_machine_only(name) and fold(name) in remote.keys() - local.keys():
                other = spellings(name, self.remote)[0]
                raise Unusable(
                    f"The remote config sets {other} and .env sets {name}, which are one key, for "
                    "case does not matter, and which only this machine may set: rename one of "
                    "them.",
                    "collision",
                )


def _lines(text: str, base: Mapping[str, str], path: Path) -> dict[str, str]:
    values = dotenv.hand_written(text, base, str(path))
    seen: dict[str, str] = {}
    for key in sorted(values):
        other = seen.setdefault(fold(key), key)
        if values[other] != values[key]:
            raise ConfigError(
                f"{path} gives {other} and {key} different values, and they are one key, for "
                "case does not matter: delete one of them."
            )
    return values
