"""`platform proc …`: custom processes."""

from skep.cli.verbs import Verbs

_VERBS = {
    "ls": ("processes", "List custom processes and their states."),
    "restart": ("processes", "Restart custom processes."),
    "logs": ("logs", "Show what custom processes have logged."),
}

proc = Verbs(
    "skep.cli.proc",
    _VERBS,
    name="proc",
    help="List custom processes, restart them and show their logs.\n\n"
    "NAME is a class, ticker.Echo, or one slot of it, ticker.Echo.0.",
)
