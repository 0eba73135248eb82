"""Where the value of a key comes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from skep.base.logs.masking import mask_value
from skep.config.env.layers import Layers
from skep.config.options.spelling import fold, spellings
from skep.config.options.table import rows
from skep.config.snapshots.snapshot import Snapshot


@dataclass(frozen=True)
class KeySource:
    """One place that sets a key; `where` is the namespace for what is remote, else empty."""

    key: str
    layer: str
    where: str
    value: str = field(repr=False)

    def to_json(self) -> dict[str, str]:
        """Return the fields with the value masked."""
        return asdict(self) | {"value": mask_value(self.key, self.value)}


def places(
    key: str, layers: Layers, snapshot: Snapshot | None, flags: Mapping[str, Any]
) -> list[KeySource]:
    """Return every place that sets the key, in whatever spelling, the winner first.

    `snapshot` is that of the remote layer, for the namespaces; None if only its values are known.
    For a setting of the platform the command line and the default are places too.
    """
    found: list[KeySource] = []
    row = next((row for row in rows() if row.key == fold(key)), None)
    if row and flags.get(row.name) not in (None, ()):
        found.append(KeySource(row.key, "command line", "", _text(flags[row.name])))
    for layer, values in layers.ordered():
        parts = {"": values}
        if layer == "remote" and snapshot is not None:
            parts = {r.namespace: r.values() for r in reversed(snapshot.releases)}
        for where, part in parts.items():
            for name in spellings(key, part):
                found.append(KeySource(name, layer, where, part[name]))
    if row:
        found.append(KeySource(row.key, "default", "", _text(row.default)))
    return found


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
