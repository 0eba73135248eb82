"""`platform undrain`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json


@click.command("undrain")
@asking
def command(as_json: bool, **flags: Any) -> None:
    """Take up the work again after `platform drain`."""
    answer = ask(flags, "undrain", timeout=None)
    if as_json:
        show_json(answer)
    else:
        click.echo((answer or {}).get("sentence") or "Undrained: the platform takes work again.")
