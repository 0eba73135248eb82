"""The apps, clusters and namespaces of a config server, by Apollo's Open API."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from skep.base.errors import ConfigError
from skep.base.logs.masking import mask_url
from skep.config.apollo.openapi import OpenApiClient


@dataclass(frozen=True, slots=True)
class ListedItem:
    """A line of a namespace; a comment or a blank line has no key."""

    key: str
    value: str
    comment: str
    type: int


@dataclass(frozen=True, slots=True)
class ListedNamespace:
    """A namespace as it is edited."""

    name: str
    items: tuple[ListedItem, ...]


class OpenApiCatalogue(OpenApiClient):
    """A client that also lists and makes apps, clusters and namespaces."""

    def apps(self) -> list[str]:
        """Return the ids of the apps that the token may read."""
        return [str(app["appId"]) for app in self._list(f"{self._api}/apps")]

    def clusters(self, app_id: str) -> list[str]:
        """Return the clusters of an app in all environments, without repetition."""
        found = self._list(f"{self._api}/apps/{quote(app_id, safe='')}/envclusters")
        return list(dict.fromkeys(str(name) for one in found for name in one["clusters"]))

    def namespaces(self, app_id: str, cluster: str) -> list[ListedNamespace]:
        """Return the namespaces of a cluster with their items."""
        url = f"{self._root}/apps/{quote(app_id, safe='')}/clusters/{quote(cluster, safe='')}"
        return [_namespace(one) for one in self._list(f"{url}/namespaces")]

    def create_app(self, app_id: str, operator: str) -> None:
        """Make an app, which Apollo wants an owner and an organization for."""
        email = f"{operator}@localhost"
        app = {"appId": app_id, "name": app_id, "orgId": "default", "orgName": "default"}
        app |= {"ownerName": operator, "ownerEmail": email}
        self._call("POST", f"{self._api}/apps", {"app": app, "assignAppRoleToSelf": True})

    def create_cluster(self, app_id: str, cluster: str, operator: str) -> None:
        """Make a cluster of an app."""
        body = {"appId": app_id, "name": cluster, "dataChangeCreatedBy": operator}
        self._call("POST", f"{self._root}/apps/{quote(app_id, safe='')}/clusters", body)

    def create_namespace(self, app_id: str, name: str, kind: str, operator: str) -> None:
        """Define a namespace for all clusters of an app; `kind` is its format."""
        # Apollo adds the suffix of the format by itself.
        stem = name if kind == "properties" else name.removesuffix(f".{kind}")
        body = {"appId": app_id, "name": stem, "format": kind, "isPublic": False}
        body |= {"dataChangeCreatedBy": operator}
        self._call("POST", f"{self._api}/apps/{quote(app_id, safe='')}/appnamespaces", body)

    def _list(self, url: str) -> list[dict[str, Any]]:
        try:
            found = self._call("GET", url).json()
            assert isinstance(found, list)
            assert all(isinstance(one, dict) for one in found)
        except (ValueError, AssertionError) as error:
            raise ConfigError(
                f"What answers at {mask_url(url)} is not an Apollo portal: its answer is not a "
                "list of objects."
            ) from error
        return found


def _namespace(fields: dict[str, Any]) -> ListedNamespace:
    items = tuple(
        ListedItem(
            str(one.get("key") or ""),
            str(one.get("value") or ""),
            str(one.get("comment") or ""),
            int(one.get("type") or 0),
        )
        for one in fields.get("items") or ()
    )
    return ListedNamespace(str(fields["namespaceName"]), items)
