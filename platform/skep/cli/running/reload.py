"""`platform reload`."""

from typing import Any

import click

from skep.cli.output import json_option, phase, print_sentence, show, waiting
from skep.cli.platform_handle import PlatformHandle, for_platform


@click.command("reload")
@for_platform()
@json_option
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.option(
    "--task-only", is_flag=True, help="Replace the task workers; configuration and code stay."
)
def reload(platform: PlatformHandle, wait: bool, task_only: bool, as_json: bool) -> None:
    """Roll out a new generation and wait for the outcome.

    The new generation uses the present configuration and code, even if nothing has changed. The
    exit code is 1, with the reason, if the new generation was refused or rolled back; the old one
    then keeps serving.

    With --task-only there is no new generation: each task worker is replaced by one of its own
    generation, which takes tasks before the old one drains. Web workers are not affected.
    """
    with waiting("asking for new workers") as say:

        def report_phase(news: dict[str, Any]) -> None:
            say(f"generation {news['generation']}: {phase(news['phase'])}")

        command = "reload_tasks" if task_only else "reload"
        report = platform.ask(command, timeout=None, news=report_phase, wait=wait)
    show(report, as_json, print_sentence)
