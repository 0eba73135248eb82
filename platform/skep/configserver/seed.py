"""The first contents of a config server: sample files, and a release of each namespace."""

from collections.abc import Iterable
from pathlib import Path

from skep.configserver.editing.publishing import Publisher
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.names import DEFAULT_CLUSTER, Address, bare, fallback
from skep.configserver.model.rights import system_actor
from skep.configserver.samples import read_sample, sample_files
from skep.configserver.storage import namespaces as rows
from skep.configserver.storage import releases
from skep.configserver.storage.database import ConfigDatabase

_PLATFORM = system_actor("platform")


def seed(
    database: ConfigDatabase,
    samples: Path,
    app_id: str,
    cluster: str,
    namespaces: Iterable[str],
    limits: EditorLimits | None = None,
) -> list[Address]:
    """Publish the samples of namespaces never seen before; return the addresses published.

    `samples` holds `<app id>/<cluster>/<namespace>.<format>`; it need not exist. A sample counts
    once: later changes of the file change nothing. Namespaces in which a client of `app_id` and
    `cluster` would find no release get an empty one in the default cluster: in `cluster` it would
    hide later releases of the default one. Raises ConfigError, naming the file and the line, for a
    sample that cannot be used.
    """
    published = []
    publisher, reader = Publisher(database), database.reader
    for path, address in sample_files(samples):
        if rows.find(reader, address) is None:
            drafts = read_sample(path, address, limits or EditorLimits())
            title = ReleaseTitle(f"sample {path.name}")
            if publisher.introduce(_PLATFORM, address, drafts, title):
                published.append(address)
    for namespace in namespaces:
        wanted = Address(app_id, cluster, bare(namespace))
        clusters = fallback(wanted.cluster, "")
        if not any(releases.latest(reader, wanted._replace(cluster=one)) for one in clusters):
            address = wanted._replace(cluster=DEFAULT_CLUSTER)
            if publisher.ensure_release(_PLATFORM, address, ReleaseTitle("empty at first start")):
                published.append(address)
    return published
