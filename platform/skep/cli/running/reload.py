"""`platform reload`."""

from typing import Any

import click

from skep.cli.asking import ask, asking, show_json
from skep.cli.output import phase, waiting


@click.command("reload")
@asking
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome. [default: wait]")
@click.option(
    "--task-only", is_flag=True, help="Replace the task workers, with what is in force already."
)
def command(wait: bool, task_only: bool, as_json: bool, **flags: Any) -> None:
    """Roll out a new generation and wait for the outcome.

    The configuration and the code are taken as they are now, also when nothing has changed. The
    exit code is 1, with the reason, when the new generation was refused or rolled back; the old one
    then goes on serving.

    With --task-only there is no new generation: each task worker is replaced by one of its own
    generation, which takes tasks before the old one drains. Web workers notice nothing.
    """
    with waiting("asking for new workers") as say:

        def tell(news: dict[str, Any]) -> None:
            say(f"generation {news['generation']}: {phase(news['phase'])}")

        what = "reload_tasks" if task_only else "reload"
        report = ask(flags, what, timeout=None, news=tell, wait=wait)
    if as_json:
        show_json(report)
    else:
        click.echo(report["sentence"])
