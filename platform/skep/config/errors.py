"""What can be wrong with a config server, or with what it publishes.

ConfigError
├── ApolloError           the server gave no usable answer; exit code 9 if asking later may help
│   ├── Unreachable       connect    no connection, or it broke before the answer began
│   ├── TooSlow           timeout    a deadline passed
│   ├── Forbidden         auth       401 or 403
│   ├── Missing           missing    404: the namespace has no release
│   ├── Declined          http_4xx   any other 4xx
│   ├── Throttled         http_4xx   429: we ask too often
│   ├── Broken            http_5xx
│   ├── NotApollo         decode     what came back is no answer of an Apollo server
│   └── EmptyAnswer       empty      a 200 that carries no configuration at all
└── Unusable              the answer is fine, what was published must not be applied:
                          collision, limits, denied, malformed, empty or shrunk

The word is the `reason` by which metrics count; each text is one line for the operator.
"""

from typing import ClassVar, Literal

from skep.base.errors import ConfigError

# By which rule a release must not be applied.
Rule = Literal["collision", "limits", "denied", "malformed", "empty", "shrunk"]


class ApolloError(ConfigError):
    """The server gave no usable answer; `status` is its HTTP status, 0 if it came to none.

    `pause` is how many seconds it wants to be left alone, 0 if it does not say. `definite` says
    that the server is well and means what it says: asking again soon is useless.
    """

    reason: ClassVar[str] = "decode"
    definite: ClassVar[bool] = False
    exit_code = 9

    def __init__(self, message: str, status: int = 0, pause: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.pause = pause


class Unreachable(ApolloError):
    """There is no connection, or it broke before the answer began."""

    reason = "connect"


class TooSlow(ApolloError):
    """The whole of an answer did not come within its deadline."""

    reason = "timeout"


class Forbidden(ApolloError):
    """The server knows us, or does not, and in either case refuses us."""

    reason = "auth"
    definite = True
    exit_code = ConfigError.exit_code


class Missing(ApolloError):
    """A namespace has no release: unknown, never published or deleted; the server cannot tell."""

    reason = "missing"
    definite = True
    exit_code = ConfigError.exit_code


class Declined(ApolloError):
    """The server declines the request as it stands."""

    reason = "http_4xx"
    definite = True
    exit_code = ConfigError.exit_code


class Throttled(ApolloError):
    """The server, or a proxy in front of it, wants to be asked less often."""

    reason = "http_4xx"


class Broken(ApolloError):
    """The server, or a proxy in front of it, failed."""

    reason = "http_5xx"


class NotApollo(ApolloError):
    """What came back is no answer of an Apollo server: HTML, cut off, of the wrong shape."""

    reason = "decode"


class EmptyAnswer(ApolloError):
    """A 200 without any configuration; taking it for "all keys deleted" would be fatal."""

    reason = "empty"


class Unusable(ConfigError):
    """A release was pulled and must not be applied; `reason` says by which rule."""

    def __init__(self, message: str, reason: Rule) -> None:
        super().__init__(message)
        self.reason: Rule = reason
