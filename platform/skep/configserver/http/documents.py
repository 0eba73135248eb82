"""The JSON documents of Apollo's Open API and of its admin API."""

import time
from collections.abc import Iterable
from typing import Any

from skep.configserver.model.access_keys import AppKey
from skep.configserver.model.apps import AppNamespace, ConfigApp, ConfigCluster, ConfigNamespace
from skep.configserver.model.branches import Branch, GrayRule
from skep.configserver.model.instances import InstanceConfig
from skep.configserver.model.items import Item
from skep.configserver.model.journal import AuditEntry, Commit
from skep.configserver.model.names import Address, file_format
from skep.configserver.model.releases import HistoryEntry, StoredRelease


def moment(milliseconds: int) -> str:
    """Return a time as Apollo writes it: `2024-06-14T16:31:38.588+0000`."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{seconds}.{milliseconds % 1000:03d}+0000"


def item(one: Item) -> dict[str, Any]:
    """Return an item of the Open API."""
    return {
        "key": one.key,
        "type": one.type,
        "value": one.value,
        "comment": one.comment,
        **_changed(one.created_by, one.created_at, one.modified_by, one.modified_at),
    }


def admin_item(one: Item, namespace_id: int) -> dict[str, Any]:
    """Return an item of the admin API; `revision` is ours."""
    numbers = {"id": one.id, "namespaceId": namespace_id}
    return {**numbers, **item(one), "lineNum": one.line, "revision": one.revision}


def release(one: StoredRelease) -> dict[str, Any]:
    """Return a release of the Open API."""
    return {
        "id": one.id,
        **place(one.address),
        "name": one.name,
        "configurations": one.values(),
        "comment": one.comment,
        **_changed(one.released_by, one.released_at),
    }


def admin_release(one: StoredRelease) -> dict[str, Any]:
    """Return a release of the admin API, whose configurations are a text of JSON."""
    return {
        "id": one.id,
        "releaseKey": one.release_key,
        "name": one.name,
        **place(one.address),
        "configurations": one.configurations,
        "comment": one.comment,
        "isAbandoned": one.is_abandoned,
        **_changed(one.released_by, one.released_at),
    }


def namespace(one: ConfigNamespace, items: Iterable[Item] | None) -> dict[str, Any]:
    """Return a namespace of the Open API, with its items unless they are None."""
    found = {} if items is None else {"items": [item(its) for its in items]}
    return {
        **place(one.address),
        "comment": one.comment,
        "format": file_format(one.address.namespace),
        "isPublic": one.is_public,
        **found,
    }


def admin_namespace(one: ConfigNamespace) -> dict[str, Any]:
    """Return a namespace of the admin API."""
    return {"id": one.id, **place(one.address), **_changed(one.created_by, one.created_at)}


def app(one: ConfigApp) -> dict[str, Any]:
    """Return an app of both APIs."""
    return {
        "name": one.details.title or one.app_id,
        "appId": one.app_id,
        "orgId": one.details.org_id,
        "orgName": one.details.org_name,
        "ownerName": one.details.owner_name,
        "ownerEmail": one.details.owner_email,
        **_changed(one.created_by, one.created_at),
    }


def cluster(one: ConfigCluster) -> dict[str, Any]:
    """Return a cluster of the Open API."""
    return {"name": one.name, "appId": one.app_id, **_changed(one.created_by, one.created_at)}


def admin_cluster(one: ConfigCluster) -> dict[str, Any]:
    """Return a cluster of the admin API."""
    more = {"parentClusterId": one.parent_id, "comment": one.comment}
    return {"id": one.id, **cluster(one), **more}


def app_namespace(one: AppNamespace) -> dict[str, Any]:
    """Return a defined namespace of both APIs."""
    return {
        "id": one.id,
        "name": one.name,
        "appId": one.app_id,
        "format": file_format(one.name),
        "isPublic": one.is_public,
        "comment": one.comment,
        **_changed(one.created_by, one.created_at),
    }


def rules(branch: Branch) -> dict[str, Any]:
    """Return the rules of a branch of both APIs."""
    return {
        **place(branch.parent),
        "branchName": branch.address.cluster,
        "ruleItems": [rule(one) for one in branch.rules],
        "releaseId": branch.release_id or 0,
    }


def rule(one: GrayRule) -> dict[str, Any]:
    """Return one rule of a branch."""
    return {
        "clientAppId": one.app_id,
        "clientIpList": list(one.ips),
        "clientLabelList": list(one.labels),
    }


def history(one: HistoryEntry) -> dict[str, Any]:
    """Return an entry of the history of the admin API."""
    return {
        "id": one.id,
        **place(one.address),
        "branchName": one.branch,
        "releaseId": one.release_id,
        "previousReleaseId": one.previous_release_id,
        "operation": int(one.operation),
        "operationContext": one.context,
        **_changed(one.operator, one.at),
    }


def commit(one: Commit) -> dict[str, Any]:
    """Return a commit of the admin API."""
    return {
        "id": one.id,
        **place(one.address),
        "changeSets": one.changes,
        **_changed(one.operator, one.at),
    }


def access_key(one: AppKey) -> dict[str, Any]:
    """Return an access key of the admin API."""
    return {
        "id": one.id,
        "secret": one.secret,
        "appId": one.app_id,
        "mode": int(one.mode),
        "enabled": one.enabled,
        **_changed(one.created_by, one.created_at),
    }


def audit_entry(one: AuditEntry) -> dict[str, Any]:
    """Return an entry of the audit log, which Apollo does not show."""
    return {
        "id": one.id,
        "time": moment(one.at),
        "actor": one.actor,
        "token": one.token,
        "origin": one.origin,
        "action": one.action,
        **place(one.address),
        "detail": one.detail,
    }


def instances(found: Iterable[InstanceConfig], releases: dict[str, Any]) -> list[dict[str, Any]]:
    """Return instances of the admin API, each with the releases it runs; `releases` are the
    documents by their keys."""
    by_id: dict[int, dict[str, Any]] = {}
    for one in found:
        instance = by_id.setdefault(
            one.instance_id,
            {
                "id": one.instance_id,
                "appId": one.app_id,
                "clusterName": one.cluster,
                "dataCenter": one.data_center,
                "ip": one.ip,
                "configs": [],
            },
        )
        instance["configs"].append(
            {
                "release": releases.get(one.release_key),
                "releaseDeliveryTime": moment(one.delivered_at),
                "dataChangeLastModifiedTime": moment(one.seen_at),
            }
        )
    return list(by_id.values())


def place(at: Address) -> dict[str, Any]:
    """Return the fields of an address."""
    return {"appId": at.app_id, "clusterName": at.cluster, "namespaceName": at.namespace}


def paged(content: list[Any], page: int, size: int, total: int) -> dict[str, Any]:
    """Return a page."""
    return {"page": page, "size": size, "total": total, "content": content}


def _changed(
    created_by: str, created_at: int, modified_by: str = "", modified_at: int = 0
) -> dict[str, Any]:
    return {
        "dataChangeCreatedBy": created_by,
        "dataChangeLastModifiedBy": modified_by or created_by,
        "dataChangeCreatedTime": moment(created_at),
        "dataChangeLastModifiedTime": moment(modified_at or created_at),
    }
