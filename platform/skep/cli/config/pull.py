"""`platform config pull`."""

import os
import sys
import time
from typing import Any

import click

from skep.base.errors import ConfigError, NotRunning
from skep.cli.config.dry_run import try_out
from skep.cli.differences import as_json as differences_as_json
from skep.cli.differences import differences, print_differences
from skep.cli.options import platform_options
from skep.cli.output import print_json
from skep.cli.site import SOURCE, Site, print_held
from skep.config.pulled import Assembly
from skep.config.snapshot import Snapshot


@click.command("pull")
@platform_options(*SOURCE, "plugins", "config_check", "allow_empty", "backup_old_env")
@click.option("--dry-run", is_flag=True, help="Change nothing; the exit code tells.")
@click.option("--diff", is_flag=True, help="Show what differs from what is in force.")
@click.option("--once", is_flag=True, help="Write .env although no platform runs here.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(dry_run: bool, diff: bool, once: bool, as_json: bool, **flags: Any) -> None:
    """Fetch what is published and put it in force.

    A running platform is given it, and the verb waits for the outcome. A namespace whose release is
    missing, cannot be fetched or is refused is named; the others are applied. Where no platform
    runs, --once checks everything as a start would and writes .env, all or nothing: for building
    images and for init containers.

    \b
    Exit codes: 0 done, or with --dry-run nothing would change;
    1 refused, all of it or a namespace, or with --dry-run something would change;
    3 no platform runs here, or the plugins do not load with it;
    4 no usable configuration; 9 the config service cannot be reached.
    """
    site = Site(flags)
    assembly = site.pull()
    if site.status is None:
        # An image or a container is not to be made of what was published some time ago.
        _check_all_fetched(assembly)
    snapshot = assembly.snapshot()
    found = differences(site.in_force(), snapshot.values())
    if diff and not as_json:
        print_differences(found)
    sentence = _would(len(found)) if dry_run else _apply(site, snapshot, once)
    if as_json:
        document = {"dry_run": dry_run, "sentence": sentence, "releases": snapshot.release_keys()}
        print_json(document | {"changes": differences_as_json(found)})
    else:
        click.echo(sentence)
    print_held(assembly)
    sys.exit(int(bool(assembly.held) or (dry_run and bool(found))))


def _check_all_fetched(assembly: Assembly) -> None:
    for held in assembly.held:
        raise held.error


def _would(count: int) -> str:
    return f"{count} keys would change." if count else "Nothing would change."


def _apply(site: Site, snapshot: Snapshot, once: bool) -> str:
    if site.status is not None:
        path = str(site.archive.stage(snapshot))
        allow = bool(site.flags.get("allow_empty"))
        answer = site.ask("config.apply", snapshot=path, allow_empty=allow)
        return f"{answer['sentence']}{_withheld(site.status)}"
    if not once:
        raise NotRunning(
            f"No platform is running on {site.run_dir.path}: start one, or say --once to write "
            f"{site.env_file} without it."
        )
    site.run_dir.create()
    held = site.run_dir.lock()
    try:
        return _write(site, snapshot)
    finally:
        os.close(held)


def _withheld(status: dict[str, Any]) -> str:
    pinned = status["config"]["pinned"]
    return f" Snapshot {pinned} is pinned; see `platform config unpin`." if pinned else ""


def _write(site: Site, snapshot: Snapshot) -> str:
    started = time.monotonic()
    found = differences(site.in_force(), snapshot.values())
    problems = try_out(site, snapshot)
    if not problems:
        site.configurations.commit(site.configurations.of(snapshot))
    site.history.record(
        {
            "outcome": "refused" if problems else "written",
            "number": None,
            "generation": 0,
            "cause": "cli",
            "reason": "platform config pull --once",
            "releases": snapshot.release_keys(),
            "seconds": round(time.monotonic() - started, 3),
            "problems": [str(problem) for problem in problems],
        },
        found,
    )
    if problems:
        raise ConfigError(
            f"The configuration was refused and {site.env_file} is what it was: {problems[0]}"
        )
    return f"{site.env_file} holds what is published ({len(found)} keys changed)."
