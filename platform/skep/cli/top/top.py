"""The verb `platform top`."""

import asyncio
from typing import Any

import click
from rich.console import Console

from skep.cli.output import print_markup, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.cli.top.follow import Follower
from skep.cli.top.lines import lines
from skep.cli.top.reading import read
from skep.cli.top.screen import Screen
from skep.cli.top.view import view

_UNLIMITED = 10_000
_INTERVAL = click.FloatRange(0.1, 60.0)


@verb("top", json=True)
@click.option(
    "--interval", type=_INTERVAL, default=1.0, show_default=True, metavar="SECONDS",
    help="Time between two readings.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Print one frame and end.")
def top(platform: PlatformHandle, interval: float, once: bool, as_json: bool) -> None:
    """Watch the running platform: processes, requests, queues, rollouts, configuration.

    The figures are those of /metrics, `status` and `ps`; rates are those between two readings.
    p50 and p99 are bounds of buckets: that share of the requests took no longer. lag is how late
    an event loop is. With --json, or where the output is not a terminal, it prints one frame.

    Keys: q quits; n, s, p, c, m, r, l and x sort the slots by a column.
    """
    console = Console(highlight=False)
    live = console.is_terminal and not console.is_dumb_terminal
    if once or as_json or not live:
        document = _one_frame(platform, interval)
        width = console.width if console.is_terminal else _UNLIMITED
        show(document, as_json, lambda document: _print(document, width))
        return
    control_socket = platform.run_dir.control_socket
    if not platform.run_dir.is_held():
        platform.ask("ready")  # raises what there is to say about a platform that does not run
    screen = Screen(console)
    with screen.open():
        asyncio.run(Follower(control_socket, interval, screen).run())


def _one_frame(platform: PlatformHandle, interval: float) -> dict[str, Any]:
    platform.ask("ready")  # waits for a platform that starts

    async def run() -> dict[str, Any]:
        earlier = await read(platform.run_dir.control_socket)
        await asyncio.sleep(interval)
        return view(earlier, await read(platform.run_dir.control_socket))

    return asyncio.run(run())


def _print(document: dict[str, Any], width: int) -> None:
    for line in lines(document, width):
        print_markup(line)
