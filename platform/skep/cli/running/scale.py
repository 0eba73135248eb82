"""`platform scale`."""

from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.output import json_option, print_sentence, show
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("scale")
@for_platform()
@json_option
@click.argument("counts", nargs=-1, required=True, metavar="KIND=COUNT...")
def scale(platform: PlatformHandle, counts: tuple[str, ...], as_json: bool) -> None:
    """Change the number of workers of a KIND to COUNT: `platform scale web=4 task=2`.

    New workers are prepared before they accept; surplus workers drain, the newest first. To keep
    the numbers after a restart, set PLATFORM_WEB_WORKERS and PLATFORM_TASK_WORKERS.
    """
    wanted = [_split(text) for text in counts]
    answers = [platform.ask("scale", timeout=None, kind=k, count=n) for k, n in wanted]
    show(answers, as_json, _print)


def _print(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        print_sentence(answer)


def _split(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    if not kind or not count.isdecimal():
        raise UsageError(f"{text!r} is not KIND=COUNT: give for example web=4.")
    return kind, int(count)
