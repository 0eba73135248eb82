"""Where configuration can be moved from and to: this config server, files, another server."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from skep.base.errors import UsageError
from skep.config.apollo.openapi_catalogue import OpenApiCatalogue
from skep.config.env import atomic
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft, restored
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.names import Address, bare, file_format
from skep.configserver.model.rights import Actor
from skep.configserver.samples import (
    read_sample,
    sample_files,
    sample_path,
    sample_text,
)


@dataclass(frozen=True)
class Contents:
    """A namespace as it is edited, and the values in force; None if nothing is published."""

    lines: tuple[Draft, ...]
    released: Mapping[str, str] | None

    @property
    def values(self) -> dict[str, str]:
        """What a publish would release."""
        return {line.key: line.value for line in self.lines if line.key}

    def in_force(self) -> tuple[Draft, ...] | None:
        """Return the lines that lead to the release in force; None if there is none."""
        if self.released is None:
            return None
        return tuple(restored(self.lines, dict(self.released)))


class ConfigPlace(Protocol):
    """A place with namespaces."""

    def read(self) -> dict[Address, Contents]:
        """Return every namespace. Raises ConfigError."""

    def write(self, address: Address, lines: Sequence[Draft], old: Contents | None) -> None:
        """Make these lines the namespace and publish them. Raises ConfigError."""


class OwnPlace:
    """The config server's own file."""

    def __init__(self, desk: EditingDesk, actor: Actor) -> None:
        self._desk = desk
        self._actor = actor

    def read(self) -> dict[Address, Contents]:
        """Return every namespace without gray releases."""
        view, actor = self._desk.view, self._actor
        found = {}
        for app in view.apps(actor):
            for cluster in view.clusters(actor, app.app_id):
                for one in view.namespaces(actor, app.app_id, cluster.name):
                    lines = tuple(
                        Draft(item.key, item.value, item.comment, item.type)
                        for item in view.items(actor, one.address)
                    )
                    release = view.latest_release(actor, one.address)
                    released = release.values() if release else None
                    found[one.address] = Contents(lines, released)
        return found

    def write(self, address: Address, lines: Sequence[Draft], old: Contents | None) -> None:
        """Replace the items of a namespace and publish them."""
        title = ReleaseTitle("imported")
        if old is None and self._desk.publisher.introduce(self._actor, address, lines, title):
            return
        self._desk.items.replace(self._actor, address, lines)
        self._desk.publisher.publish(self._actor, address, title)


class DirectoryPlace:
    """Files in the layout of `config-samples/`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> dict[Address, Contents]:
        """Return every file."""
        found = {}
        for path, address in sample_files(self._directory):
            lines = tuple(read_sample(path, address, EditorLimits()))
            values = {line.key: line.value for line in lines if line.key}
            found[address] = Contents(lines, values)
        return found

    def write(self, address: Address, lines: Sequence[Draft], old: Contents | None) -> None:
        """Write one file, readable by its owner alone."""
        path = self._directory / sample_path(address)
        try:
            for parent in (self._directory, path.parent.parent, path.parent):
                os.makedirs(parent, 0o700, exist_ok=True)
            atomic.write(path, sample_text(address, lines).encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


class ServerPlace:
    """Another config server, or Apollo's portal, by the Open API."""

    def __init__(self, client: OpenApiCatalogue, operator: str) -> None:
        self._client = client
        self._operator = operator

    def read(self) -> dict[Address, Contents]:
        """Return every namespace of the apps that the token may read."""
        found = {}
        for app_id in self._client.apps():
            for cluster in self._client.clusters(app_id):
                for one in self._client.namespaces(app_id, cluster):
                    lines = tuple(
                        Draft(item.key, item.value, item.comment, item.type) for item in one.items
                    )
                    release = self._client.latest_release(app_id, cluster, one.name)
                    released = release.configurations if release else None
                    found[Address(app_id, cluster, bare(one.name))] = Contents(lines, released)
        return found

    def write(self, address: Address, lines: Sequence[Draft], old: Contents | None) -> None:
        """Write the keys that differ, delete those that are not among the lines, and publish."""
        present = old.values if old else {}
        if old is None:
            self._make(address)
        wanted = {line.key: line.value for line in lines if line.key}
        for key in _differing(wanted, present):
            self._client.set_item(*address, key, wanted[key], self._operator)
        for key in present.keys() - wanted.keys():
            self._client.delete_item(*address, key, self._operator)
        self._client.publish(*address, "imported", self._operator)

    def _make(self, address: Address) -> None:
        """Make the app, the cluster and the namespace where they are missing."""
        client, operator = self._client, self._operator
        app_id, cluster, namespace = address
        if app_id not in client.apps():
            client.create_app(app_id, operator)
        if cluster not in client.clusters(app_id):
            client.create_cluster(app_id, cluster, operator)
        if client.items(*address) is None:
            client.create_namespace(app_id, namespace, file_format(namespace), operator)


def _differing(wanted: Mapping[str, str], present: Mapping[str, str]) -> Iterable[str]:
    return [key for key, value in wanted.items() if present.get(key) != value]
