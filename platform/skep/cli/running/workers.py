"""Verbs that act on the workers of the running platform."""

from typing import Any

import click

from skep.base.errors import UsageError
from skep.cli.output import json_option, print_sentence, show, size
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
    show(answers, as_json, _print_sentences)


def _print_sentences(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        print_sentence(answer)


def _split(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    if not kind or not count.isdecimal():
        raise UsageError(f"{text!r} is not KIND=COUNT: give for example web=4.")
    return kind, int(count)


@click.command("drain")
@for_platform()
@json_option
def drain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept no new work but keep running: connections wait, /readyz is 503, what is in flight
    finishes.

    `platform undrain` accepts work again.
    """
    show(platform.ask("drain", timeout=None), as_json, print_sentence)


@click.command("undrain")
@for_platform()
@json_option
def undrain(platform: PlatformHandle, as_json: bool) -> None:
    """Accept work again after `platform drain`."""
    show(platform.ask("undrain", timeout=None), as_json, print_sentence)


@click.command("log-level")
@for_platform()
@json_option
@click.argument("level", type=click.Choice(("debug", "info", "warning", "error")))
def log_level(platform: PlatformHandle, level: str, as_json: bool) -> None:
    """Set the log level of every process at once, without replacing a worker.

    The level holds until the configuration changes or a new generation is rolled out. To keep it,
    set PLATFORM_LOG_LEVEL.
    """
    show(platform.ask("log_level", level=level), as_json, _print_level)


def _print_level(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['processes']} processes log at level {answer['level']}.")


@click.command("dump")
@for_platform()
@json_option
@click.argument("slot")
def dump(platform: PlatformHandle, slot: str, as_json: bool) -> None:
    """Show the stacks of the process in SLOT: web.0, or web.0@3 for that of one generation.

    This works even if the event loop of the process is stuck, and does not disturb the process.
    `platform ps` shows the slots.
    """
    show(platform.ask("dump", slot=slot), as_json, _print_stacks)


def _print_stacks(answer: dict[str, Any]) -> None:
    click.echo(f"{answer['name']} (pid {answer['pid']})\n\n{answer['stacks'].rstrip()}")


@click.command("mem")
@for_platform()
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch.")
@click.option("--top", default=10, show_default=True, help="How many lines of source per worker.")
@json_option
def mem(platform: PlatformHandle, seconds: float, top: int, as_json: bool) -> None:
    """Show which lines of source make workers grow.

    Every allocation of every worker is recorded for some seconds; what is still allocated at the
    end is shown, the largest first. Keep up the usual load, and watch twice: what grows both times
    is a leak. Workers run at about half their speed while they are watched.
    """
    show(platform.ask("mem", timeout=None, seconds=seconds, top=top), as_json, _print_growth)


def _print_growth(workers: list[dict[str, Any]]) -> None:
    for worker in workers:
        before, after = map(size, worker["resident"])
        click.echo(f"{worker['worker']} (pid {worker['pid']}): {before}, now {after}")
        for row in worker["growth"]:
            line = f"{row['file']}:{row['line']}"
            click.echo(f"  {size(row['bytes']):>10}  {row['blocks']:>7} blocks  {line}")
