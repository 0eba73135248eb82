"""Instances: which client runs which release."""

from dataclasses import dataclass

from skep.configserver.model.names import Address

# As in Apollo: an instance counts for a day and an hour after it last asked.
ACTIVE_SECONDS = 25 * 3600


@dataclass(frozen=True, slots=True)
class Asker:
    """The client of a request; `cluster` is the one it asks for, `label` chooses gray releases."""

    app_id: str
    cluster: str
    data_center: str = ""
    ip: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class InstanceConfig:
    """A release that an instance runs; `namespace` is the address of the release. Times are
    milliseconds since the epoch."""

    instance_id: int
    app_id: str
    cluster: str
    data_center: str
    ip: str
    namespace: Address
    release_key: str
    delivered_at: int
    seen_at: int
