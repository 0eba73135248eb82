"""The server under test, known by its URL: how to write to it, read from it, and wait for it."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support import wait_until

# The user that every Apollo has; ours takes any name.
USER = "apollo"
BY = {"dataChangeCreatedBy": USER, "dataChangeLastModifiedBy": USER}


@dataclass
class ApolloTarget:
    """A config service at `http`, its Open API and its admin API.

    `count_held` returns how many polls the server holds, if that is known; without it a poll counts
    as held when it has no answer for `patience` seconds. `delay` is how many seconds a change may
    take until clients see it.
    """

    http: httpx.Client
    open_api: httpx.Client
    admin: httpx.Client
    count_held: Callable[[], int] | None = None
    patience: float = 3.0
    delay: float = 0.0
    made: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def is_ours(self) -> bool:
        """Whether the tests have started it."""
        return self.count_held is not None

    # Writing

    def ensure(self, app_id: str, cluster: str = "default", namespace: str = "application") -> None:
        """Make app, cluster and private namespace, unless they exist."""
        self._once(
            ("app", app_id),
            "/openapi/v1/apps",
            {
                "assignAppRoleToSelf": True,
                "app": {
                    **{"name": app_id, "appId": app_id, "orgId": "org", "orgName": "org"},
                    **{"ownerName": USER, "ownerEmail": "apollo@example.com"},
                },
            },
        )
        if cluster != "default":
            url = f"/openapi/v1/envs/DEV/apps/{app_id}/clusters"
            body = {"name": cluster, "appId": app_id, **BY}
            self._once(("cluster", app_id, cluster), url, body)
        if namespace != "application":
            self.define(app_id, namespace)

    def define(self, app_id: str, namespace: str, *, public: bool = False) -> None:
        """Define a namespace of an app, unless it is defined."""
        self.ensure(app_id)
        name, _, suffix = namespace.rpartition(".")
        kind = suffix if suffix in ("json", "yml", "yaml", "xml", "txt") else "properties"
        body = {
            "name": namespace if kind == "properties" else name,
            "appId": app_id,
            "format": kind,
            "isPublic": public,
            "appendNamespacePrefix": False,
            **BY,
        }
        url = f"/openapi/v1/apps/{app_id}/appnamespaces"
        self._once(("namespace", app_id, namespace), url, body)

    def associate(self, app_id: str, cluster: str, namespace: str) -> None:
        """Make a namespace that overrides another app's public one."""
        self.ensure(app_id, cluster)
        body = {"appId": app_id, "clusterName": cluster, "namespaceName": namespace, **BY}
        url = f"/apps/{app_id}/clusters/{cluster}/namespaces"
        assert self.admin.post(url, json=body).status_code == 200
        # As far as `publish` is concerned, it is defined.
        self.made.add(("namespace", app_id, namespace))

    def set_item(
        self,
        key: str,
        value: str,
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
    ) -> None:
        """Create or change an item."""
        self.ensure(app_id, cluster, namespace)
        self.put_item(key, value, namespace, app_id=app_id, cluster=cluster)

    def put_item(
        self,
        key: str,
        value: str,
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
    ) -> None:
        """Create or change an item of a namespace that exists, or of a branch by its name."""
        encoded = base64.b64encode(key.encode()).decode().replace("/", "%2F")
        answer = self.write(
            "PUT",
            f"/encodedItems/{encoded}",
            {"key": key, "value": value, **BY},
            namespace=namespace,
            app_id=app_id,
            cluster=cluster,
            createIfNotExists="true",
        )
        assert answer.status_code == 200, answer.text

    def publish(
        self,
        values: Mapping[str, str],
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
    ) -> int:
        """Write these items, keep the others, and publish them all; return the release's id."""
        self.ensure(app_id, cluster, namespace)
        for key, value in values.items():
            self.put_item(key, value, namespace, app_id=app_id, cluster=cluster)
        answer = self.release(namespace, app_id=app_id, cluster=cluster)
        self.settle()
        number: int = answer.json()["id"]
        return number

    def release(
        self,
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
        path: str = "/releases",
        **query: str,
    ) -> httpx.Response:
        """Publish a namespace that exists, or with another path do something like it."""
        body = {"releaseTitle": "a test", "releaseComment": "", "releasedBy": USER}
        at = {"namespace": namespace, "app_id": app_id, "cluster": cluster}
        answer = self.write("POST", path, body, **at, **query)
        assert answer.status_code == 200, answer.text
        return answer

    def roll_back(self, release: int, **query: str) -> httpx.Response:
        """Roll back a release."""
        url = f"/openapi/v1/envs/DEV/releases/{release}/rollback"
        answer = self.open_api.put(url, params={"operator": USER, **query})
        self.settle()
        return answer

    def branch(
        self,
        app_id: str,
        namespace: str = "application",
        *,
        cluster: str = "default",
        ips: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        client: str = "",
        **values: str,
    ) -> str:
        """Make the branch of a namespace with one rule and these values; return its name."""
        at = {"namespace": namespace, "app_id": app_id, "cluster": cluster}
        answer = self.write("POST", "/branches", {}, **at, operator=USER)
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["clusterName"]
        for key, value in values.items():
            self.put_item(key, value, namespace, app_id=app_id, cluster=name)
        rule = {"clientAppId": client or app_id, "clientIpList": ips, "clientLabelList": labels}
        self.set_rules(name, [rule], namespace, app_id=app_id, cluster=cluster)
        return name

    def set_rules(
        self,
        branch: str,
        rules: list[dict[str, Any]],
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
    ) -> None:
        """Replace the rules of a branch."""
        body = {
            **{"appId": app_id, "clusterName": cluster, "namespaceName": namespace},
            **{"branchName": branch, "ruleItems": rules},
        }
        at = {"namespace": namespace, "app_id": app_id, "cluster": cluster}
        answer = self.write("PUT", f"/branches/{branch}/rules", body, **at, operator=USER)
        assert answer.status_code == 200, answer.text
        self.settle()

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        app_id: str,
        namespace: str = "application",
        cluster: str = "default",
        **query: str,
    ) -> httpx.Response:
        """Call the Open API; `path` is what follows the namespace."""
        at = f"/openapi/v1/envs/DEV/apps/{app_id}/clusters/{cluster}/namespaces/{namespace}"
        return self.open_api.request(
            method,
            f"{at}{path}",
            content=json.dumps(body),
            params=query,
            headers={"Content-Type": "application/json"},
        )

    def settle(self) -> None:
        """Wait until clients see a change."""
        if self.delay:
            time.sleep(self.delay)

    # Reading

    def config(
        self,
        namespace: str = "application",
        *,
        app_id: str,
        cluster: str = "default",
        **query: str,
    ) -> httpx.Response:
        """Read one namespace."""
        return self.http.get(f"/configs/{app_id}/{cluster}/{namespace}", params=query)

    def values(self, namespace: str = "application", **where: Any) -> dict[str, str]:
        """Return the configurations of one namespace."""
        found: dict[str, str] = self.config(namespace, **where).json()["configurations"]
        return found

    def key(self, namespace: str = "application", **where: Any) -> str:
        """Return the release key of one namespace."""
        found: str = self.config(namespace, **where).json()["releaseKey"]
        return found

    def poll(
        self,
        ids: Mapping[str, int] | str,
        *,
        app_id: str,
        cluster: str = "default",
        **query: str,
    ) -> httpx.Response:
        """Ask for news since these ids, by namespace; or with this very text."""
        text = ids if isinstance(ids, str) else asked(ids)
        params = {"appId": app_id, "cluster": cluster, "notifications": text, **query}
        return self.http.get("/notifications/v2", params=params)

    def newest(self, namespace: str = "application", *, app_id: str, **query: str) -> int:
        """Return the id of the latest notification of a namespace."""
        answer = self.poll({namespace: -1}, app_id=app_id, **query)
        number: int = answer.json()[0]["notificationId"]
        return number

    def held(
        self, pool: ThreadPoolExecutor, ids: Mapping[str, int], *, app_id: str, **query: str
    ) -> Future[httpx.Response]:
        """Begin a poll and return when the server holds it."""
        before = self.count_held() if self.count_held else 0
        poll = pool.submit(self.poll, ids, app_id=app_id, **query)
        count = self.count_held
        if count is None:
            wait([poll], timeout=self.patience)
        else:
            wait_until(lambda: count() > before or poll.done())
        assert not poll.done(), poll.result().text
        return poll

    # Access keys

    def create_key(self, app_id: str, *, mode: int = 0) -> tuple[int, str]:
        """Make an enabled access key; return its id and its secret."""
        body = {"appId": app_id, "secret": uuid.uuid4().hex, **BY}
        answer = self.admin.post(f"/apps/{app_id}/accesskeys", json=body)
        assert answer.status_code == 200, answer.text
        made = answer.json()
        url = f"/apps/{app_id}/accesskeys/{made['id']}/enable"
        answer = self.admin.put(url, params={"operator": USER, "mode": mode})
        assert answer.status_code == 200, answer.text
        self.settle()
        return made["id"], made["secret"]

    def disable_key(self, app_id: str, key_id: int) -> None:
        """Disable an access key."""
        url = f"/apps/{app_id}/accesskeys/{key_id}/disable"
        assert self.admin.put(url, params={"operator": USER}).status_code == 200

    def signed(
        self,
        target: str,
        secret: str,
        *,
        skew: float = 0.0,
        timestamp: str | None = None,
        signs: str = "",
        app_id: str = "someApp",
    ) -> httpx.Response:
        """Send a signed request for exactly this path and query; `signs` is signed instead of it,
        `skew` are the seconds by which the client's clock is ahead."""
        now = str(round((time.time() + skew) * 1000)) if timestamp is None else timestamp
        proof = sign(secret, now, signs or target)
        headers = {"Authorization": f"Apollo {app_id}:{proof}", "Timestamp": now}
        url = httpx.URL(str(self.http.base_url)).copy_with(raw_path=target.encode())
        return self.http.get(url, headers=headers)

    def _once(self, what: tuple[str, ...], url: str, body: dict[str, Any]) -> None:
        if what not in self.made:
            answer = self.open_api.post(url, json=body)
            # 400: it exists, because an earlier run made it, or another test by another way.
            assert answer.status_code in (200, 400), answer.text
            self.made.add(what)


def asked(ids: Mapping[str, int]) -> str:
    """Return the parameter `notifications` of a poll."""
    return json.dumps(
        [{"namespaceName": name, "notificationId": number} for name, number in ids.items()]
    )


def sign(secret: str, timestamp: str, target: str) -> str:
    """Return a signature as Apollo's clients make it."""
    text = f"{timestamp}\n{target}".encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha1).digest()).decode()
