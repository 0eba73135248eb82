"""Which layer of the environment wins.

From the strongest: the process environment as it was when the platform started, `.env.local`, the
remote config (the managed block of `.env`), the hand-written lines of `.env`. Defaults are weaker
than all of these and live in the Settings classes.

Nothing is interpolated here. Remote values are literals: what was published is what a worker sees,
`${…}` included. Only the lines a person wrote (`.env`, `.env.local`) have had their `${NAME}`
replaced by `dotenv.hand_written`, from earlier lines of the same file and the process environment,
as python-dotenv does everywhere else.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from skep.config import dotenv
from skep.config.trouble import Unusable

Layer = Literal["environment", ".env.local", "remote", ".env"]

# Whoever sets one of these runs code of his choice in a process of ours: the loader's and the
# interpreter's own switches, what glibc strips from setuid programs for the same reason, what
# shells read before their first command and with every prompt, the command we run ourselves and the
# folders we load plugins from.
_DENIED = re.compile(
    r"(?:PYTHON.*|LD_.*|DYLD_.*|PATH|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS[0-4]|PROMPT_COMMAND|IFS"
    r"|GCONV_PATH|GLIBC_TUNABLES|LOCPATH|OPENSSL_CONF|OPENSSL_MODULES|OPENSSL_ENGINES"
    r"|PLATFORM_CONFIG_CHECK|PLATFORM_PLUGINS)\Z"
)
# These say as whom the platform runs and where it writes: what a machine grants it, and all
# machines that follow one config cannot have in common.
_OF_THIS_MACHINE = frozenset(
    {
        "PLATFORM_DATA_DIR",
        "PLATFORM_ENV",
        "PLATFORM_ENV_FILE",
        "PLATFORM_GROUP",
        "PLATFORM_LOG_FILE",
        "PLATFORM_USER",
    }
)


def check_remote(names: Iterable[str]) -> None:
    """Raise Unusable, naming the key, if the remote config sets what it must not."""
    for name in names:
        if _DENIED.match(name):
            raise _denied(name, "decides what code a process runs")
        if name in _OF_THIS_MACHINE:
            raise _denied(name, "decides as whom the platform runs or where it writes")


def _denied(name: str, what: str) -> Unusable:
    return Unusable(
        f"The remote config sets {name}, which {what}: set it in the process environment or in "
        ".env.local.",
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

        `remote` stands for what the managed block of `.env` holds if it is not given. Raises
        ConfigError.
        """
        text = dotenv.read(env_file)
        local = env_file.with_name(f"{env_file.name}.local")
        return cls(
            base=base,
            local=dotenv.hand_written(dotenv.read(local), base, str(local)),
            remote=dotenv.managed(text, str(env_file)) if remote is None else remote,
            hand_written=dotenv.hand_written(text, base, str(env_file)),
        )

    def configured(self) -> dict[str, str]:
        """Return what the files say, without the process environment."""
        return {**self.hand_written, **self.remote, **self.local}

    def resolve(self) -> dict[str, str]:
        """Return the environment a worker gets.

        Raises Unusable if the remote layer sets a key it must not.
        """
        check_remote(self.remote)
        return {**self.hand_written, **self.remote, **self.local, **self.base}

    def explain(self, key: str) -> list[tuple[Layer, str]]:
        """Return every layer that sets the key with its value there, the winner first."""
        order: list[tuple[Layer, Mapping[str, str]]] = [
            ("environment", self.base),
            (".env.local", self.local),
            ("remote", self.remote),
            (".env", self.hand_written),
        ]
        return [(layer, values[key]) for layer, values in order if key in values]
