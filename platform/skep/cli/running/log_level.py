"""`platform log-level`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json


@click.command("log-level")
@asking
@click.argument("level", type=click.Choice(("debug", "info", "warning", "error")))
def command(level: str, as_json: bool, **flags: Any) -> None:
    """Log as much as LEVEL says in every process, at once and without a new worker.

    It holds until the configuration changes or a new generation is rolled out; what is to stay
    belongs into PLATFORM_LOG_LEVEL.
    """
    answer = ask(flags, "log_level", level=level)
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{answer['processes']} processes log at level {answer['level']}.")
