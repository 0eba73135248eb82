"""A config server's file and its desk, with the calls that tests make most."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.items import WriteMode
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft, Item
from skep.configserver.model.limits import EditorLimits
from skep.configserver.model.names import Address
from skep.configserver.model.releases import Notification, StoredRelease
from skep.configserver.model.rights import Actor, system_actor
from skep.configserver.storage import releases
from skep.configserver.storage.database import ConfigDatabase
from skep.configserver.storage.namespaces import find


class Store:
    """A file in which every actor may do everything."""

    def __init__(self, path: Path, limits: EditorLimits | None = None) -> None:
        self.database = ConfigDatabase(path)
        self.desk = EditingDesk(self.database, limits)
        self.announced: list[Notification] = []
        self.database.listen(self.announced.append)

    def __enter__(self) -> Self:
        self.database.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.database.close()

    def find(self, address: Address) -> Address | None:
        found = find(self.database.reader, address)
        return found[1] if found else None

    def put_item(
        self, address: Address, draft: Draft, operator: str, mode: WriteMode = "either"
    ) -> None:
        self.desk.items.put(by(operator), address, draft, mode)

    def delete_item(self, address: Address, key: str) -> None:
        self.desk.items.delete(by("ann"), address, key)

    def items(self, address: Address) -> list[Item]:
        return self.desk.view.items(by("ann"), address)

    def values(self, address: Address) -> dict[str, str]:
        return {item.key: item.value for item in self.items(address)}

    def publish(
        self, address: Address, name: str = "t", operator: str = "ann", comment: str = ""
    ) -> tuple[StoredRelease, Notification]:
        title = ReleaseTitle(name, comment)
        release = self.desk.publisher.publish(by(operator), address, title)
        return release, self.announced[-1]

    def introduce(
        self, address: Address, drafts: Sequence[Draft], name: str, operator: str
    ) -> bool:
        return self.desk.publisher.introduce(by(operator), address, drafts, ReleaseTitle(name))

    def ensure_release(self, address: Address, name: str, operator: str) -> bool:
        return self.desk.publisher.ensure_release(by(operator), address, ReleaseTitle(name))

    def latest_release(self, address: Address) -> StoredRelease | None:
        return releases.latest(self.database.reader, address)

    def notifications(
        self, app_id: str, clusters: Sequence[str], namespaces: Sequence[str]
    ) -> list[Notification]:
        return releases.notifications(self.database.reader, app_id, clusters, namespaces)


def by(name: str) -> Actor:
    """Return an actor that may do everything."""
    return system_actor(name)
