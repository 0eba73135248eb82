"""`platform config pull`."""

import os
import sys
import time

import click

from skep.base.errors import ConfigError, NotRunning
from skep.cli.config.check import dry_run as tried
from skep.cli.config.published import SOURCE, print_held
from skep.cli.config.published import pull as pulled
from skep.cli.config.values import differences, print_differences, to_json
from skep.cli.output import show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.config.snapshots.history import Difference
from skep.config.snapshots.snapshot import Snapshot


@verb("pull", *SOURCE, "plugins", "config_check", "allow_empty", "backup_old_env", json=True)
@click.option("--dry-run", is_flag=True, help="Change nothing; see the exit code.")
@click.option("--diff", is_flag=True, help="Show what differs from what is applied.")
@click.option("--once", is_flag=True, help="Write .env although no platform runs here.")
def pull(platform: PlatformHandle, dry_run: bool, diff: bool, once: bool, as_json: bool) -> None:
    """Fetch what is published and apply it.

    A running platform applies it, and the verb waits for the outcome. A namespace whose release is
    missing, cannot be fetched or is refused is named; the others are applied. If no platform runs,
    --once checks everything as a start does and writes .env, all or nothing: for building images
    and for init containers.

    \b
    Exit codes: 0 done, or with --dry-run nothing would change;
    1 refused, all of it or a namespace, or with --dry-run something would change;
    3 no platform runs here, or the plugins do not load with it;
    4 no usable configuration; 9 the config service cannot be reached.
    """
    assembly = pulled(platform)
    if platform.status is None and assembly.held:
        # An image or a container must not be made of what was published some time ago.
        raise assembly.held[0].error
    snapshot = assembly.snapshot()
    found = differences(platform.applied_values(), snapshot.values())
    if diff and not as_json:
        print_differences(found)
    if dry_run:
        sentence = f"{len(found)} keys would change." if found else "Nothing would change."
    else:
        sentence = _apply(platform, snapshot, found, once)
    document = {"dry_run": dry_run, "sentence": sentence, "releases": snapshot.release_keys()}
    show(document | {"changes": to_json(found)}, as_json, lambda document: click.echo(sentence))
    print_held(assembly)
    sys.exit(int(bool(assembly.held) or (dry_run and bool(found))))


def _apply(
    platform: PlatformHandle, snapshot: Snapshot, found: list[Difference], once: bool
) -> str:
    if platform.status is not None:
        path = str(platform.archive.stage(snapshot))
        allow = bool(platform.flags.get("allow_empty"))
        answer = platform.ask("config.apply", timeout=None, snapshot=path, allow_empty=allow)
        pinned = platform.status["config"]["pinned"]
        more = f" Snapshot {pinned} is pinned; see `platform config unpin`." if pinned else ""
        return f"{answer['sentence']}{more}"
    if not once:
        raise NotRunning(
            f"No platform is running on {platform.run_dir.path}: start one, or give --once to "
            f"write {platform.env_file} without it."
        )
    platform.run_dir.create()
    held = platform.run_dir.lock()
    try:
        return _write(platform, snapshot, found)
    finally:
        os.close(held)


def _write(platform: PlatformHandle, snapshot: Snapshot, found: list[Difference]) -> str:
    started = time.monotonic()
    problems = tried(platform, snapshot)
    if not problems:
        platform.configurations.commit(platform.configurations.of(snapshot))
    platform.history.record(
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
            f"The configuration was refused and {platform.env_file} is what it was: {problems[0]}"
        )
    return f"{platform.env_file} holds what is published ({len(found)} keys changed)."
