"""`platform proc …`: custom processes."""

from skep.cli.verbs import Verbs

_VERBS = {
    "ls": ("processes", "List custom processes and their states."),
    "send": ("messages", "Send a message to a custom process."),
    "request": ("messages", "Send a message and print the reply."),
    "stream": ("messages", "Send a message and print all replies."),
    "restart": ("processes", "Restart custom processes."),
    "logs": ("logs", "Show what custom processes have logged."),
}

proc = Verbs(
    "skep.cli.proc",
    _VERBS,
    name="proc",
    help="List custom processes, send to them, restart them and show their logs.\n\n"
    "NAME is a class, ticker.Echo, or one slot of it, ticker.Echo.0.",
)
