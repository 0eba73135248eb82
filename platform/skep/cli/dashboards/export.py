"""`platform dashboards export`."""

from collections.abc import Iterator
from pathlib import Path

import click

import skep
from skep.base.errors import UsageError
from skep.cli.output import json_option, show

# Installed as a part of the package; in the source tree it stands beside `platform/`.
_PLACES = (
    Path(skep.__file__).parent / "grafana",
    Path(skep.__file__).parents[2] / "grafana",
)
_SHIPPED = ("dashboards/*.json", "provisioning/*/*.yml", "prometheus/*.yml")
_RUNBOOKS = "docs/howto/alerts.md"


@click.command("export")
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; it is made if need be.",
)
@click.option(
    "--runbooks",
    metavar="URL",
    default=_RUNBOOKS,
    show_default=True,
    help="Where the page about alerts is served: each alert has a link to its paragraph there.",
)
@click.option("--force", is_flag=True, help="Replace files that differ.")
@json_option
def export(out: Path, runbooks: str, force: bool, as_json: bool) -> None:
    """Write dashboards, alert rules and the files that make Grafana and Prometheus load them.

    A file that exists and differs is only replaced with --force; without it nothing is written.
    """
    texts = {out / name: text.replace(f"{_RUNBOOKS}#", f"{runbooks}#") for name, text in _shipped()}
    if not force:
        for path, text in texts.items():
            if path.exists() and path.read_text() != text:
                raise UsageError(f"{path} exists and differs: use --force, or another --out.")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    show([str(path) for path in texts], as_json, lambda paths: click.echo("\n".join(paths)))


def _shipped() -> Iterator[tuple[str, str]]:
    folder = next(place for place in _PLACES if (place / "dashboards").is_dir())
    for pattern in _SHIPPED:
        for path in sorted(folder.glob(pattern)):
            yield str(path.relative_to(folder)), path.read_text()
