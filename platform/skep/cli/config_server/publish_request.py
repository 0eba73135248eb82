"""`platform config-server request …`."""

from typing import Any

import click
from rich.markup import escape

from skep.cli.config_server.opened import opened, operator
from skep.cli.output import print_table, show
from skep.cli.platform_handle import PlatformHandle, verb
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.names import DEFAULT_CLUSTER, Address, bare
from skep.configserver.open_api.publish_requests import document, due_time


@click.group("request")
def request() -> None:
    """Ask for a publish at a time or by two people; approve or withdraw it."""


@verb("create", group=request)
@click.option("--cluster", "where", default=DEFAULT_CLUSTER, show_default=True)
@click.option("--title", default="platform config-server request", show_default=True)
@click.option("--at", default="", metavar="TIME", help="When, such as 2030-01-31T18:00:00+01:00.")
@click.argument("app")
@click.argument("namespace")
def create_request(
    platform: PlatformHandle, app: str, namespace: str, where: str, title: str, at: str
) -> None:
    """Ask to publish the items as they are now. They are not published if they change after that.

    The server publishes them at TIME, late if it does not run then. Where the rules of the
    namespace want it, another person has to approve the request before.
    """
    due = due_time(at)
    with opened(platform) as desk:
        place = Address(app, where, bare(namespace))
        made = desk.requests.ask(operator(), place, ReleaseTitle(title), due)
    click.echo(f"Request {made.id} to publish {made.address} is open.")


@verb("ls", group=request, json=True)
def list_requests(platform: PlatformHandle, as_json: bool) -> None:
    """List the open requests."""
    with opened(platform) as desk:
        found = [document(one) for one in desk.requests.open(operator())]
    show(found, as_json, _print_requests)


@verb("approve", group=request)
@click.argument("request_id", metavar="ID", type=int)
def approve_request(platform: PlatformHandle, request_id: int) -> None:
    """Approve the request of another person; without a time to wait for it is published."""
    with opened(platform) as desk:
        done = desk.requests.approve(operator(), request_id)
    if done.release_id:
        click.echo(f"Published {done.address}: release {done.release_id}.")
    else:
        click.echo(f"Request {done.id} is approved and waits for its time.")


@verb("withdraw", group=request)
@click.argument("request_id", metavar="ID", type=int)
def withdraw_request(platform: PlatformHandle, request_id: int) -> None:
    """End an open request; nothing is published."""
    with opened(platform) as desk:
        desk.requests.withdraw(operator(), request_id)
    click.echo(f"Request {request_id} is withdrawn.")


def _print_requests(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            str(one["id"]),
            escape(f"{one['appId']}+{one['clusterName']}+{one['namespaceName']}"),
            escape(one["requestedBy"]),
            one["at"] or "once approved",
            escape(one["approvedBy"] or ""),
        )
        for one in found
    ]
    print_table(("Request", "Namespace", "By", "At", "Approved by"), rows)
