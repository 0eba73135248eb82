"""`platform reload`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json
from skep.cli.screen import phase, waiting


@click.command("reload")
@asking
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
def command(wait: bool, as_json: bool, **flags: Any) -> None:
    """Roll out a new generation and wait for the outcome.

    The configuration and the code are taken as they are now, also when nothing has changed. The
    exit code is 1, with the reason, when the new generation was refused or rolled back; the old one
    then goes on serving.
    """
    with waiting("asking for a new generation") as say:

        def tell(news: dict[str, Any]) -> None:
            say(f"generation {news['generation']}: {phase(news['phase'])}")

        report = ask(flags, "reload", timeout=None, news=tell, wait=wait)
    if as_json:
        show_json(report)
    else:
        click.echo(report["sentence"])
