"""Namespaces as files: `<app id>/<cluster>/<namespace>.<format>`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from skep.base.errors import ConfigError
from skep.base.files.fingerprint import IGNORED_DIRECTORIES, counts
from skep.configserver.model.formats import CONTENT, check_content
from skep.configserver.model.items import Draft
from skep.configserver.model.limits import EditorLimits, check_address
from skep.configserver.model.names import FILE_FORMATS, Address, bare, file_format
from skep.configserver.model.properties import Pair, parse, render
from skep.configserver.model.refusals import InvalidRequest


def sample_files(samples: Path) -> Iterator[tuple[Path, Address]]:
    """Yield the files `<app id>/<cluster>/<namespace>.<format>` of a folder, which need not exist,
    with their addresses. Raises ConfigError, naming the file, for a name that is not one."""
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


def read_sample(path: Path, address: Address, limits: EditorLimits) -> list[Draft]:
    """Return the lines of a sample. Raises ConfigError, naming the file and the line, if it cannot
    be used."""
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


def sample_path(address: Address) -> Path:
    """Return where the sample of a namespace lies in its folder. Raises ConfigError for a name that
    `sample_files` skips."""
    for name in (address.app_id, address.cluster):
        if name in IGNORED_DIRECTORIES or not counts(name):
            raise ConfigError(f"{address} cannot be a file: a folder {name!r} is not read.")
    is_file = file_format(address.namespace) != "properties"
    name = address.namespace if is_file else f"{address.namespace}.properties"
    return Path(address.app_id, address.cluster, name)


def sample_text(address: Address, drafts: Iterable[Draft]) -> str:
    """Return the text that `read_sample` reads as these lines. The comment of an item becomes a
    line of its own above it; keys of a file namespace beside its content are left out."""
    if file_format(address.namespace) != "properties":
        return "".join(draft.value for draft in drafts if draft.key == CONTENT)
    return "".join(_lines(draft) for draft in drafts)


def _lines(draft: Draft) -> str:
    lines = draft.comment.splitlines() or ([] if draft.key else [""])
    marked = (
        line if not line.strip() or line.lstrip().startswith(("#", "!")) else f"# {line}"
        for line in lines
    )
    comment = "".join(f"{line}\n" for line in marked)
    return comment + (render({draft.key: draft.value}) if draft.key else "")
