"""What a generation is configured with, and how that is put in force."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skep.base.errors import ConfigError
from skep.config import dotenv
from skep.config.archive import Archive
from skep.config.layers import Layers
from skep.config.options import Options, resolve
from skep.config.snapshot import Snapshot

# prometheus_client would write files instead of counting if it found this.
_NEVER_PASSED_ON = frozenset({"PROMETHEUS_MULTIPROC_DIR"})


@dataclass(frozen=True)
class Configuration:
    """One snapshot and the environment and options that follow from it; never changes.

    `digest` names the effective environment: with an equal one a generation would be the same.
    """

    snapshot: Snapshot | None
    environment: Mapping[str, str] = field(repr=False)
    options: Options = field(repr=False)
    digest: str
    keys_by_layer: Mapping[str, int]
    layer_of: Mapping[str, str] = field(repr=False)

    @property
    def release_keys(self) -> dict[str, str]:
        """The release key of each namespace."""
        return self.snapshot.release_keys() if self.snapshot else {}


class Configurations:
    """Makes configurations out of staged snapshots and puts them in force.

    `base` is the process environment as it was when the platform started. It is never changed: what
    entered `os.environ` could not leave again when it is deleted remotely. Workers find the data
    directory in PLATFORM_DATA_DIR, wherever it was named.
    """

    def __init__(
        self,
        base: Mapping[str, str],
        flags: Mapping[str, Any],
        env_file: Path,
        data_dir: Path,
        archive: Archive,
    ) -> None:
        self._base = {k: v for k, v in base.items() if k not in _NEVER_PASSED_ON}
        self._base["PLATFORM_DATA_DIR"] = str(data_dir)
        self._flags = flags
        self._env_file = env_file
        self._local_file = env_file.with_name(f"{env_file.name}.local")
        self._archive = archive

    def load(self, path: str) -> Configuration:
        """Return the configuration of a staged snapshot.

        Raises ConfigError when it, `.env` or `.env.local` cannot be used, UsageError when it gives
        the platform an option it cannot use.
        """
        snapshot = self._archive.load(Path(path))
        if snapshot is None:
            raise ConfigError(f"The staged snapshot {path} cannot be read; publish again.")
        return self.of(snapshot)

    def of(self, snapshot: Snapshot | None) -> Configuration:
        """Return the configuration that a snapshot makes with the files as they are now."""
        layers = Layers(
            base=self._base,
            local=dotenv.hand_written(dotenv.read(self._local_file), self._base),
            remote=snapshot.values() if snapshot else {},
            hand_written=dotenv.hand_written(dotenv.read(self._env_file), self._base),
        )
        environment = layers.resolve()
        options = resolve(self._flags, environment, self._base)
        counts = {
            "remote": len(layers.remote),
            ".env": len(layers.hand_written),
            ".env.local": len(layers.local),
        }
        layer_of = {key: layers.explain(key)[0][0] for key in environment}
        return Configuration(snapshot, environment, options, _digest(environment), counts, layer_of)

    def commit(self, configuration: Configuration) -> None:
        """Put it in force: `.env` first, then the archive. Blocks until both are on the disk.

        Raises ConfigError, and then `.env` is what it was.
        """
        if configuration.snapshot is None:
            return
        self._write(configuration.snapshot)
        self._archive.commit(configuration.snapshot)

    def _write(self, snapshot: Snapshot) -> None:
        releases = ", ".join(f"{n} {key}" for n, key in snapshot.release_keys().items())
        dotenv.write(self._env_file, snapshot.values(), note=f"releases: {releases}")


def starting_options(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return the options as far as they are known before the config service has been asked.

    What it said last time is the managed block of `.env`. Raises UsageError and ConfigError.
    """
    env_file = Path(flags.get("env_file") or base.get("PLATFORM_ENV_FILE") or Options.env_file)
    text = dotenv.read(env_file)
    layers = Layers(
        base=base,
        local=dotenv.hand_written(dotenv.read(env_file.with_name(f"{env_file.name}.local")), base),
        remote=dotenv.managed(text),
        hand_written=dotenv.hand_written(text, base),
    )
    return resolve(flags, layers.resolve(), base)


def _digest(environment: Mapping[str, str]) -> str:
    total = hashlib.blake2b(digest_size=12)
    for item in sorted(environment.items()):
        for text in item:
            raw = os.fsencode(text)
            total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()
