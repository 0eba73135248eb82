"""`platform scale`."""

from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.asking import ask, asking, show_json


@click.command("scale")
@asking
@click.argument("counts", nargs=-1, required=True, metavar="KIND=COUNT...")
def command(counts: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Have COUNT workers of a KIND: `platform scale web=4 task=2`.

    New workers are prepared before they accept; those that are too many drain, the newest first.
    What is to outlive a restart belongs into PLATFORM_WEB_WORKERS and PLATFORM_TASK_WORKERS.
    """
    wanted = [_split(text) for text in counts]
    answers = [ask(flags, "scale", timeout=None, kind=k, count=n) for k, n in wanted]
    if as_json:
        show_json(answers)
        return
    for (kind, count), answer in zip(wanted, answers, strict=True):
        click.echo((answer or {}).get("sentence") or f"There are to be {count} {kind} workers.")


def _split(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    if not kind or not count.isdecimal():
        raise UsageError(f"{text!r} is no KIND=COUNT, like web=4.")
    return kind, int(count)
