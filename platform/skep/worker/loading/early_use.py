"""What the code of plugins may not use while it is imported: what one process has open cannot be
shared with those that are forked from it."""

from skep.messaging import binding as messaging_binding
from skep.table import binding as table_binding

_NO_TABLES = (
    "No table can be used while plugins are loaded, before any worker is there: use it in a "
    "lifespan, a hook or a handler."
)

_NO_MESSAGES = (
    "No process can be reached while plugins are loaded, before any process is there: send in a "
    "lifespan, a hook or a handler."
)


def refuse_while_loading() -> None:
    """Refuse tables and messages until this process is a worker."""
    table_binding.refuse(_NO_TABLES)
    messaging_binding.refuse(_NO_MESSAGES)
