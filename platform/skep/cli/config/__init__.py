"""`platform config …`: the configuration, from the server to the workers."""

from skep.cli.verbs import Verbs

_VERBS = {
    "status": "Show which configuration is in force, and where it came from.",
    "pull": "Fetch what is published and put it in force.",
    "check": "Find out whether what is published would be accepted.",
    "diff": "Show what differs between what is published, in force, or was.",
    "plan": "Show what applying what is published would change, and how.",
    "explain": "Show where the value of a key comes from.",
    "history": "Show which configurations were applied, and which were refused.",
    "rollback": "Go back to an earlier configuration and hold on to it.",
    "unpin": "Follow what is published again after a rollback.",
    "publish": "Publish keys on the embedded config server.",
}

command = Verbs(
    "skep.cli.config",
    _VERBS,
    name="config",
    help="Look at the configuration, check it, put it in force and go back.\n\n"
    "Values of secrets are never shown.",
)
