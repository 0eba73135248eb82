"""Errors of a config server, and of what it publishes.

ConfigError
├── ApolloError           the server gave no usable answer; exit code 9 if asking later may help
│   ├── Unreachable       connect    no connection, or it broke before the answer began
│   ├── TooSlow           timeout    the answer was not complete within its deadline
│   ├── Forbidden         auth       401 or 403
│   ├── Missing           missing    404: the namespace has no release
│   ├── Declined          http_4xx   any other 4xx
│   ├── Throttled         http_4xx   429: we ask too often
│   ├── Broken            http_5xx   the server, or a proxy in front of it, failed
│   ├── NotApollo         decode     HTML, cut off, of the wrong shape
│   └── EmptyAnswer       empty      a 200 that carries no configuration at all
└── Unusable              the answer is fine, what was published must not be applied:
                          collision, limits, denied, malformed, empty or shrunk

The word is the `reason` label of metrics; each text is one line for the operator.
"""

from typing import ClassVar, Literal

from skep.base.errors import ConfigError

# The rule that a release breaks.
Rule = Literal["collision", "limits", "denied", "malformed", "empty", "shrunk"]


class ApolloError(ConfigError):
    """The server gave no usable answer; `status` is its HTTP status, 0 without one.

    `pause` is how many seconds the server asks us to wait, 0 if it does not say. `definite` means
    that the server works and that asking again soon is useless.
    """

    reason: ClassVar[str] = "decode"
    definite: ClassVar[bool] = False
    exit_code = 9

    def __init__(self, message: str, status: int = 0, pause: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.pause = pause


class Unreachable(ApolloError):
    reason = "connect"


class TooSlow(ApolloError):
    reason = "timeout"


class Forbidden(ApolloError):
    reason = "auth"
    definite = True
    exit_code = ConfigError.exit_code


class Missing(ApolloError):
    """A namespace has no release: unknown, never published or deleted; the server cannot tell."""

    reason = "missing"
    definite = True
    exit_code = ConfigError.exit_code


class Declined(ApolloError):
    reason = "http_4xx"
    definite = True
    exit_code = ConfigError.exit_code


class Throttled(ApolloError):
    reason = "http_4xx"


class Broken(ApolloError):
    reason = "http_5xx"


class NotApollo(ApolloError):
    reason = "decode"


class EmptyAnswer(ApolloError):
    """A 200 without any configuration; taking it for "all keys deleted" would be fatal."""

    reason = "empty"


class Unusable(ConfigError):
    """A release was pulled and must not be applied; `reason` is the rule it breaks."""

    def __init__(self, message: str, reason: Rule) -> None:
        super().__init__(message)
        self.reason: Rule = reason
