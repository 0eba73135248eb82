"""The release of each namespace that was applied last, a file each.

    <config_dir>/namespaces/APP+CLUSTER+NAMESPACE.json

The applied snapshot counts first. These files count when it is damaged, or when the list of
namespaces has changed. A release without values does not replace a file with values: that is
usually an accident.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from skep.base.errors import ConfigError
from skep.config.env import atomic
from skep.config.snapshots.checksum import seal, unseal
from skep.config.snapshots.snapshot import Release, Snapshot

_FORMAT = 1

log = logging.getLogger(__name__)


class Cache:
    """The releases of one app id and cluster in one directory."""

    def __init__(self, directory: Path, app_id: str, cluster: str) -> None:
        self._directory = directory
        self._app_id = app_id
        self._cluster = cluster
        self._kept: dict[str, Release] = {}

    def path(self, namespace: str) -> Path:
        """Return where the release of a namespace is kept."""
        names = (quote(name, safe="") for name in (self._app_id, self._cluster, namespace))
        return self._directory / f"{'+'.join(names)}.json"

    def find(self, namespace: str) -> Release | None:
        """Return the valid release of a namespace, or None."""
        path = self.path(namespace)
        try:
            document = unseal(_FORMAT, path.read_bytes())
            (release,) = Snapshot.from_json(document.get("snapshot")).releases
        except FileNotFoundError:
            return None
        except (OSError, ConfigError, ValueError) as error:
            log.warning("%s is ignored: %s", path, error)
            return None
        if (release.app_id, release.cluster, release.namespace) != (
            self._app_id,
            self._cluster,
            namespace,
        ):
            log.warning("%s is ignored: it belongs to another app id, cluster or namespace.", path)
            return None
        return release

    def keep(self, releases: Iterable[Release]) -> None:
        """Write the files of new releases, as the only writer. They need not survive a power cut:
        the checksum shows a torn file. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.sweep(self._directory)
        for release in releases:
            if release.release_key and release != self._kept.get(release.namespace):
                self._keep(release)

    def _keep(self, release: Release) -> None:
        known = self.find(release.namespace)
        emptied = known is not None and not release.configurations
        if release != known and not emptied:
            body = {"snapshot": Snapshot((release,), 0.0).to_json()}
            atomic.write(self.path(release.namespace), seal(_FORMAT, body), durable=False)
        self._kept[release.namespace] = release
