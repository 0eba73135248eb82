"""The first contents of a config server: sample files, and a release of each namespace."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from skep.base.errors import ConfigError
from skep.base.files.fingerprint import IGNORED_DIRECTORIES, counts
from skep.configserver.editing.publishing import Publisher
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.formats import CONTENT, check_content
from skep.configserver.model.items import Draft
from skep.configserver.model.limits import EditorLimits, check_address
from skep.configserver.model.names import (
    DEFAULT_CLUSTER,
    FILE_FORMATS,
    Address,
    bare,
    fallback,
    file_format,
)
from skep.configserver.model.properties import Pair, parse
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.rights import system_actor
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
    for path, address in _sample_files(samples):
        if rows.find(reader, address) is None:
            drafts = _read(path, address, limits or EditorLimits())
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


def _sample_files(samples: Path) -> Iterator[tuple[Path, Address]]:
    for app in _directories(samples):
        for cluster in _directories(app):
            for path in sorted(cluster.iterdir()):
                if path.is_file() and counts(path.name):
                    yield path, _address(path)


def _directories(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(
        path
        for path in parent.iterdir()
        if path.is_dir() and counts(path.name) and path.name not in IGNORED_DIRECTORIES
    )


def _address(path: Path) -> Address:
    namespace = bare(path.name)
    if namespace == path.name and file_format(namespace) == "properties":
        raise ConfigError(
            f"{path} is not a sample of a namespace: its name must end in one of "
            f"{', '.join('.' + suffix for suffix in ('properties', *FILE_FORMATS))}."
        )
    address = Address(path.parent.parent.name, path.parent.name, namespace)
    try:
        check_address(address)
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error}") from error
    return address


def _read(path: Path, address: Address, limits: EditorLimits) -> list[Draft]:
    text = _text(path)
    if file_format(address.namespace) != "properties":
        return [_content(path, text, limits)]
    # By key, because the last of equal keys counts; comments stand for themselves.
    drafts: dict[object, Draft] = {}
    for entry in parse(text, str(path)):
        if isinstance(entry, Pair):
            drafts[entry.key] = _item(path, entry, limits)
        else:
            drafts[entry] = Draft("", "", entry.text)
    return list(drafts.values())


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The sample {path} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: this is not UTF-8.") from error


def _item(path: Path, pair: Pair, limits: EditorLimits) -> Draft:
    draft = Draft(pair.key, pair.value)
    try:
        if not pair.key.strip():
            raise InvalidRequest("An item needs a key.")
        limits.check(draft)
    except InvalidRequest as error:
        raise ConfigError(f"{path}, line {pair.line}: {error}") from error
    return draft


def _content(path: Path, text: str, limits: EditorLimits) -> Draft:
    """Return the whole file as one item. Raises ConfigError for a text that is not of its format,
    because the sample will not be read again."""
    draft = Draft(CONTENT, text)
    try:
        limits.check(draft)
    except InvalidRequest as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        check_content(path.name, draft.key, text)
    except InvalidRequest as error:
        raise ConfigError(f"{path.parent}/{error}") from error
    return draft
