"""What publishing the items of a config server would do to the running platform."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skep.base.errors import UsageError
from skep.cli.config.check import dry_run
from skep.cli.config.editing_token import own_token, token_in
from skep.cli.config.published import pull
from skep.cli.platform_handle import PlatformHandle
from skep.config.apollo.openapi import OpenApiClient
from skep.config.snapshots.snapshot import Release
from skep.supervisor.rollout.decision import unusable
from skep.wire.control import CommandFailed
from skep.wire.plan import Problem

# The release has no key yet.
_KEY = "unpublished"
_DEFAULT_CLUSTER = "default"


def foresee(platform: PlatformHandle, server: str | None, token_file: Path | None) -> Any:
    """Return the verdict on the items that are not published yet: `changes` with masked values,
    `problems`, and the `namespaces` with such items.

    `server` is the address for editors, the followed config server if None. Raises UsageError,
    ConfigError, and CommandFailed when no platform runs here or it follows nothing yet.
    """
    drafts, problems = _drafts(platform, server, token_file)
    assembly = pull(platform, drafts)
    problems += [unusable(held.error) for held in assembly.held if held.refused]
    changes: list[dict[str, Any]] = []
    if not problems:
        snapshot = assembly.snapshot()
        path = str(platform.archive.stage(snapshot))
        changes = platform.ask("config.plan", timeout=None, snapshot=path)
        problems = dry_run(platform, snapshot) if changes else []
    verdict = judged((change["action"] for change in changes), refused=bool(problems))
    return {
        "verdict": verdict,
        "namespaces": sorted(drafts),
        "changes": changes,
        "problems": [asdict(problem) for problem in problems],
    }


def judged(actions: Iterable[str], *, refused: bool) -> str:
    """Return what would become of a release: `refused`, `nothing`, `rollout`, `live`, or `restart`
    if every change waits for the next start."""
    found = set(actions)
    if refused:
        return "refused"
    if not found:
        return "nothing"
    if "rollout" in found:
        return "rollout"
    return "restart" if found == {"restart"} else "live"


def draft_of(
    server: OpenApiClient, app_id: str, clusters: Iterable[str], namespace: str
) -> tuple[str, Mapping[str, str]] | None:
    """Return the items that would be published, or None if nothing differs from what is: the first
    cluster that clients would be answered from, and its items."""
    for cluster in clusters:
        items = server.items(app_id, cluster, namespace)
        if items is None:
            continue
        release = server.latest_release(app_id, cluster, namespace)
        if release is not None:
            return (cluster, items) if items != release.configurations else None
        if items:
            return cluster, items
    return None


def _drafts(
    platform: PlatformHandle, server: str | None, token_file: Path | None
) -> tuple[dict[str, Release], list[Problem]]:
    """Return the drafts by namespace, and why the config server would refuse to publish them."""
    config = platform.ask("status")["config"]
    if "url" not in config:
        raise CommandFailed(
            "The platform is starting and follows no configuration yet: try again.", "starting"
        )
    if server and token_file is None:
        raise UsageError("--server needs --token-file, a file with a token that may read there.")
    token = token_in(token_file) if token_file else own_token(platform)
    app_id, cluster = config["app_id"], config["cluster"]
    clusters = dict.fromkeys((cluster, _DEFAULT_CLUSTER))
    drafts, problems = {}, []
    with OpenApiClient(server or config["url"], token) as client:
        for namespace in config["namespaces"]:
            found = draft_of(client, app_id, clusters, namespace)
            if found is None:
                continue
            where, items = found
            drafts[namespace] = Release(app_id, cluster, namespace, _KEY, items)
            problems += [
                Problem("publish", f"The config server would not publish {namespace}: {fault}.")
                for fault in client.release_faults(app_id, where, namespace)
            ]
    return drafts, problems
