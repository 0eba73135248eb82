"""`platform drain`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json


@click.command("drain")
@asking
def command(as_json: bool, **flags: Any) -> None:
    """Take nothing new but stay: connections wait, /readyz is 503, what is in flight finishes.

    `platform undrain` takes up the work again.
    """
    answer = ask(flags, "drain", timeout=None)
    if as_json:
        show_json(answer)
    else:
        click.echo((answer or {}).get("sentence") or "Drained: nothing new is taken.")
