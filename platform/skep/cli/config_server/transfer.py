"""`platform config-server export` and `import`."""

import os
from pathlib import Path

import click

from skep.base.errors import UsageError
from skep.cli.config_server.opened import opened, operator
from skep.cli.platform_handle import PlatformHandle, verb
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft, restored
from skep.configserver.model.names import Address
from skep.configserver.samples import read_sample, sample_files, sample_path, sample_text


@verb("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export_samples(platform: PlatformHandle, folder: Path) -> None:
    """Write what is published into a new DIR, as APP/CLUSTER/NAMESPACE files.

    Comments are kept. Drafts, branches, history, keys and tokens are not exported: see backup.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists: give the name of a new folder.")
    with opened(platform) as desk:
        published = _published(desk)
    try:
        for address, drafts in published.items():
            path = folder / sample_path(address)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(sample_text(address, drafts))
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    click.echo(f"Exported {len(published)} namespaces to {folder}.")


@verb("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def import_samples(platform: PlatformHandle, folder: Path) -> None:
    """Publish the APP/CLUSTER/NAMESPACE files of DIR; other namespaces stay as they are.

    A namespace that differs has the lines of its file afterwards, and no others. All files are read
    before anything is changed.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.")
    with opened(platform) as desk:
        limits = desk.items.limits
        samples = {at: read_sample(path, at, limits) for path, at in sample_files(folder)}
        texts = {at.fold(): sample_text(at, drafts) for at, drafts in _published(desk).items()}
        changed = [
            at for at, drafts in samples.items() if texts.get(at.fold()) != sample_text(at, drafts)
        ]
        for at in changed:
            desk.items.replace(operator(), at, samples[at])
            desk.publisher.publish(operator(), at, ReleaseTitle(f"import of {folder.name}"[:64]))
    click.echo(f"Published {len(changed)} of {len(samples)} namespaces; the others are the same.")


def _published(desk: EditingDesk) -> dict[Address, list[Draft]]:
    """Return the lines of every namespace with a release, with the released values."""
    who, view = operator(), desk.view
    found = {}
    for app in view.apps(who):
        for cluster in view.clusters(who, app.app_id):
            for namespace in view.namespaces(who, app.app_id, cluster.name):
                at = namespace.address
                release = view.latest_release(who, at)
                if release is not None:
                    found[at] = restored(view.items(who, at), release.values())
    return found
