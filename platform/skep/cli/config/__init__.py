"""`platform config …`: the configuration, from the server to the workers."""

from skep.cli.verbs import Verbs

_VERBS = {
    "status": ("status", "Show which configuration is applied, and where it came from."),
    "pull": ("pull", "Fetch what is published and apply it."),
    "check": ("check", "Find out whether what is published would be accepted."),
    "diff": ("values", "Show what differs between what is published, applied or archived."),
    "plan": ("values", "Show what applying what is published would change, and how."),
    "explain": ("values", "Show where the value of a key comes from."),
    "history": ("history", "Show which configurations were applied, and which were refused."),
    "rollback": ("history", "Go back to an earlier configuration and pin it."),
    "unpin": ("history", "Follow what is published again after a rollback."),
    "publish": ("publish", "Publish keys on the embedded config server."),
}

config = Verbs(
    "skep.cli.config",
    _VERBS,
    name="config",
    help="Show the configuration, check it, apply it and go back.\n\n"
    "Secret values are never shown.",
)
