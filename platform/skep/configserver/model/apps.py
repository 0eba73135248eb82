"""Apps, their clusters and the namespaces they define."""

from dataclasses import dataclass

from skep.configserver.model.names import Address


@dataclass(frozen=True, slots=True)
class AppDetails:
    """What people call an app, and who looks after it."""

    title: str = ""
    org_id: str = ""
    org_name: str = ""
    owner_name: str = ""
    owner_email: str = ""


@dataclass(frozen=True, slots=True)
class ConfigApp:
    """An app of the config server."""

    id: int
    app_id: str
    details: AppDetails
    created_by: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ConfigCluster:
    """A cluster of an app; a branch has its parent's id in `parent_id`, other clusters 0."""

    id: int
    app_id: str
    name: str
    comment: str
    parent_id: int
    created_by: str
    created_at: int


@dataclass(frozen=True, slots=True)
class AppNamespace:
    """A namespace that an app defines for all its clusters; every app may read a public one."""

    id: int
    app_id: str
    name: str
    is_public: bool
    comment: str
    created_by: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ConfigNamespace:
    """A namespace in one cluster. `is_public` says that the name is a public one, of this app or of
    another; in that case the namespace overrides the other's values."""

    id: int
    address: Address
    is_public: bool
    comment: str
    created_by: str
    created_at: int
