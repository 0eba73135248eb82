"""The records of what people did: commits of items, and the audit log."""

from dataclasses import dataclass
from typing import Any

from skep.configserver.model.names import Address


@dataclass(frozen=True, slots=True)
class Commit:
    """One save of items."""

    id: int
    address: Address
    changes: dict[str, Any]
    operator: str
    at: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act of a writer: who, with which token, from where, when, what."""

    id: int
    at: int
    actor: str
    token: str
    origin: str
    action: str
    address: Address
    detail: dict[str, Any]
