"""`platform dump`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json


@click.command("dump")
@asking
@click.argument("slot")
def command(slot: str, as_json: bool, **flags: Any) -> None:
    """Show the stacks of the process in SLOT: web.0, or web.0@3 for that of one generation.

    It works on a process whose event loop is stuck too, and does not disturb it. `platform ps`
    shows the slots.
    """
    answer = ask(flags, "dump", slot=slot)
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{answer['name']} (pid {answer['pid']})\n\n{answer['stacks'].rstrip()}")
