"""What a generation is configured with, and how that is applied."""

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skep.base.errors import ConfigError
from skep.base.logs import log, masking
from skep.config.env import atomic, dotenv, secret_names
from skep.config.env.dotenv import Written
from skep.config.env.layers import Layers
from skep.config.options.resolution import environment_of_workers, resolve
from skep.config.options.spelling import fold, folded
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.config.snapshots.explain import KeySource, places
from skep.config.snapshots.snapshot import Snapshot, check_shrinkage
from skep.wire.plan import Problem

# prometheus_client would write files instead of counting if it found this.
_NEVER_PASSED_ON = frozenset({"PROMETHEUS_MULTIPROC_DIR"})


@dataclass(frozen=True)
class Configuration:
    """One snapshot and the environment and options that follow from it; never changes.

    `environment` is that of the workers, without what only the agent needs. `digest` names the
    effective environment: with an equal one a generation would be the same.
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
    """Makes configurations out of staged snapshots and applies them.

    `base` is the process environment as it was when the platform started. It is never changed: what
    entered `os.environ` could not leave again when it is deleted remotely. Workers find the data
    directory in PLATFORM_DATA_DIR, wherever it was named. `in_place` says whether `.env` could not
    be replaced at the last commit and was written in place; `allowed` is a staged snapshot that may
    have lost its keys.
    """

    def __init__(
        self,
        base: Mapping[str, str],
        flags: Mapping[str, Any],
        env_file: Path,
        data_dir: Path,
        archive: Archive,
    ) -> None:
        self.env_file = env_file
        self.in_place = False
        self.allowed = ""
        self._base = {k: v for k, v in base.items() if k not in _NEVER_PASSED_ON}
        self._base["PLATFORM_DATA_DIR"] = str(data_dir)
        self._flags = flags
        self._archive = archive
        self._applied: Snapshot | None = None
        self._shown_last: Mapping[str, str] = {}
        secret_names.declare_kept(archive.directory)

    def load(self, path: str) -> Configuration:
        """Return the configuration of a staged snapshot.

        Raises ConfigError when it, `.env` or `.env.local` cannot be used, or when it has lost the
        keys of the one in force; UsageError when it gives the platform an option it cannot use.
        """
        snapshot = self._archive.load(Path(path))
        if snapshot is None:
            raise ConfigError(f"The staged snapshot {path} cannot be read; publish again.")
        configuration = self.of(snapshot)
        # What had been applied once may be gone back to, however little it is.
        if self._archive.is_candidate(Path(path)) and path != self.allowed:
            self.check_shrinkage(configuration)
        return configuration

    def of(self, snapshot: Snapshot | None) -> Configuration:
        """Return the configuration that a snapshot makes with the files as they are now."""
        layers = Layers.read(self.env_file, self._base, snapshot.values() if snapshot else {})
        environment = layers.resolve()
        options = resolve(self._flags, environment, self._base)
        masking.declare(options.secret_names)
        self._hide(environment)
        counts = {
            "remote": len(layers.remote),
            ".env": len(layers.hand_written),
            ".env.local": len(layers.local),
        }
        winners = layers.winners()
        layer_of = {key: winners[fold(key)] for key in environment}
        given, digest = environment_of_workers(environment), _digest(environment)
        return Configuration(snapshot, given, options, digest, counts, layer_of)

    def declare_secret(self, names: Sequence[str]) -> None:
        """Mask the values of these keys from now on, here and in verbs."""
        secret_names.keep(self._archive.directory, names)
        self._hide(self._shown_last)

    def check_shrinkage(self, configuration: Configuration) -> None:
        """Raise Unusable when the applied keys are gone and no option allows that."""
        before = self._applied or self._archive.applied()
        if before and configuration.snapshot and not configuration.options.allow_empty:
            check_shrinkage(before.values(), configuration.snapshot.values())

    def explain(self, key: str) -> list[KeySource]:
        """Return every place that sets a key, the winner first. Before anything is applied, the
        managed block of `.env` is what is remote."""
        snapshot = self._applied
        remote = snapshot.values() if snapshot else None
        layers = Layers.read(self.env_file, self._base, remote)
        return places(key, layers, snapshot, self._flags)

    def _hide(self, environment: Mapping[str, str]) -> None:
        self._shown_last = environment
        log.hide({**self._base, **environment})

    def stage(self, configuration: Configuration) -> Path:
        """Write what `.env` would become to a file; return where. Raises ConfigError."""
        staged = self._archive.directory / "staged.env"
        values = configuration.snapshot.values() if configuration.snapshot else {}
        text = dotenv.render(dotenv.read(self.env_file), values, name=str(self.env_file))
        try:
            atomic.write(staged, text.encode(), durable=False)
        except OSError as error:
            raise ConfigError(f"{staged} cannot be written ({error.strerror}).") from error
        return staged

    async def apply(self, configuration: Configuration) -> Problem | None:
        """Apply it in a thread; return why that failed, and then `.env` is what it was."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self.commit, configuration)
        except Exception as error:  # noqa: BLE001 - the report needs a problem
            return Problem("commit", str(error) or repr(error))
        return None

    def commit(self, configuration: Configuration) -> None:
        """Write it: `.env` first, then the archive. Blocks until both are on the disk.

        Raises ConfigError, and then `.env` is what it was.
        """
        snapshot = configuration.snapshot
        if snapshot is None:
            return
        releases = ", ".join(f"{n} {key}" for n, key in snapshot.release_keys().items())
        written = dotenv.write(
            self.env_file,
            snapshot.values(),
            note=f"releases: {releases}",
            backup=configuration.options.backup_old_env,
        )
        if written is not Written.NOTHING:
            self.in_place = written is Written.IN_PLACE
        self._archive.commit(snapshot)
        self._applied = snapshot


def starting_options(base: Mapping[str, str], flags: Mapping[str, Any]) -> Options:
    """Return the options as far as they are known before the config service has been asked.

    What it said last time is the managed block of `.env`. Raises UsageError and ConfigError.
    """
    environment = starting_layers(base, flags).resolve()
    # The file cannot say where it lies.
    return replace(resolve(flags, environment, base), **_files(base, flags))


def starting_layers(base: Mapping[str, str], flags: Mapping[str, Any]) -> Layers:
    """Return the layers that `starting_options` reads. Raises UsageError and ConfigError."""
    env_file = resolve(_files(base, flags), {}).env_path
    return Layers.read(env_file, base).without_machine_only()


def _files(base: Mapping[str, str], flags: Mapping[str, Any]) -> dict[str, Any]:
    named = folded(base)
    return {
        "env_file": flags.get("env_file") or named.get("PLATFORM_ENV_FILE") or Options.env_file,
        "env": flags.get("env") or named.get("PLATFORM_ENV") or "",
    }


def _digest(environment: Mapping[str, str]) -> str:
    total = hashlib.blake2b(digest_size=12)
    for item in sorted(environment.items()):
        for text in item:
            raw = os.fsencode(text)
            total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()
