"""Why the config server refuses a request; the HTTP layer turns each class into a status."""

from typing import Any

from skep.base.errors import ConfigError


class InvalidRequest(ConfigError):
    """The request is wrong in itself: a bad name, too long a value, a missing field (400)."""


class NotFound(ConfigError):
    """The thing asked for does not exist (404)."""


class EditConflict(ConfigError):
    """Another person changed the item since the writer read it (409).

    `yours` is what the writer wanted to save, `theirs` what is there now; None for a deletion.
    """

    def __init__(
        self, message: str, yours: dict[str, Any] | None, theirs: dict[str, Any] | None
    ) -> None:
        super().__init__(message)
        self.yours = yours
        self.theirs = theirs


class ReleaseRefused(ConfigError):
    """The release would break rules of its namespace (400). `faults` has the fields of each fault:
    key, rule, expected, value."""

    def __init__(self, message: str, faults: list[dict[str, str]]) -> None:
        super().__init__(message)
        self.faults = faults


class ApprovalMissing(ConfigError):
    """A publish of the namespace needs a second person (403)."""


class TokenRefused(ConfigError):
    """The request carries no token that this server knows (401)."""


class RoleMissing(ConfigError):
    """The token is known, but its role does not allow this (403)."""


class SignatureRefused(ConfigError):
    """The request is not signed as the app's access keys require (401).

    `reason` is one of `clock-skew`, `missing`, `unknown-key` and `wrong-signature`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
