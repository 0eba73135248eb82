"""What the config server refuses; each text is a sentence for whoever asked.

ConfigError
├── Refused     what was asked is wrong in itself (400)
└── NotFound    what was asked for does not exist (404)
"""

from skep.base.errors import ConfigError


class Refused(ConfigError):
    """What was asked is wrong in itself: a bad name, too long a value, a missing field."""


class NotFound(ConfigError):
    """What was asked for does not exist."""
