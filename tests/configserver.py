"""A real embedded config server on a real socket, in a thread of the test's process."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import uvloop
from starlette.applications import Starlette

from skep.config.apollo.openapi import OpenApiClient, PublishedRelease
from skep.config.env.secret_file import read_or_make_token
from skep.configserver.application import create_app
from skep.configserver.model.limits import EditorLimits
from skep.configserver.portal.context import ended_people
from skep.configserver.portal.routes import portal
from skep.configserver.reading.watchers import Watchers
from skep.configserver.seed import seed
from skep.configserver.server import serve
from skep.configserver.storage.database import ConfigDatabase
from skep.pages.accounts import Accounts

APP = "someAppId"


@dataclass
class RunningConfigServer:
    """A config server that answers at `url`; who writes needs `token`."""

    url: str
    token: str
    open_api: OpenApiClient
    http: httpx.Client
    watchers: Watchers = field(repr=False)

    def publish(
        self,
        values: Mapping[str, str],
        namespace: str = "application",
        *,
        app_id: str = APP,
        cluster: str = "default",
    ) -> PublishedRelease:
        """Write these items, keep the others, and publish them all."""
        for key, value in values.items():
            self.open_api.set_item(app_id, cluster, namespace, key, value, "tester")
        return self.open_api.publish(app_id, cluster, namespace, "a test", "tester")

    def config(
        self,
        namespace: str = "application",
        *,
        app_id: str = APP,
        cluster: str = "default",
        **query: str,
    ) -> httpx.Response:
        """Pull one namespace."""
        return self.http.get(f"/configs/{app_id}/{cluster}/{namespace}", params=query)

    def poll(
        self,
        ids: Mapping[str, int] | str,
        *,
        app_id: str = APP,
        cluster: str = "default",
        **query: str,
    ) -> httpx.Response:
        """Ask for news since these ids, by namespace; or with this very text."""
        return self.http.get(
            "/notifications/v2",
            params={
                "appId": app_id,
                "cluster": cluster,
                "notifications": ids if isinstance(ids, str) else asked(ids),
                **query,
            },
        )

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        app_id: str = APP,
        namespace: str = "application",
        **query: str,
    ) -> httpx.Response:
        """Call the Open API by hand; `path` is what follows the namespace."""
        return self.http.request(
            method,
            f"/openapi/v1/envs/DEV/apps/{app_id}/clusters/default/namespaces/{namespace}{path}",
            content=json.dumps(body),
            params=query,
            headers={"Authorization": self.token},
        )


def asked(ids: Mapping[str, int]) -> str:
    """Return the parameter `notifications` of a poll."""
    return json.dumps(
        [{"namespaceName": name, "notificationId": number} for name, number in ids.items()]
    )


@contextmanager
def running_config_server(
    directory: Path,
    *,
    samples: Path | None = None,
    app_id: str = APP,
    cluster: str = "default",
    namespaces: Sequence[str] = (),
    hold: float = 50.0,
    limits: EditorLimits | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    names: Sequence[str] = (),
    port: int = 0,
) -> Iterator[RunningConfigServer]:
    """Run a config server over the files in `directory`; the next one there goes on with them. It
    may be asked by these names beside its address. Without a port it takes any free one."""
    token = read_or_make_token(directory / "token")
    with (
        ConfigDatabase(directory / "config.db") as database,
        Accounts(directory / "accounts.db") as accounts,
    ):
        seed(database, samples or directory / "none", app_id, cluster, namespaces, limits)
        app = create_app(
            database,
            token,
            hold=hold,
            limits=limits,
            pages=portal(accounts, token),
            ended=lambda: ended_people(accounts),
        )
        with (
            _serving(app, loop_factory, names, port) as url,
            OpenApiClient(url, token) as open_api,
            httpx.Client(base_url=url, timeout=30, trust_env=False) as http,
        ):
            yield RunningConfigServer(url, token, open_api, http, app.state.watchers)


@contextmanager
def _serving(
    app: Starlette,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    names: Sequence[str],
    port: int,
) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    host, port = listener.getsockname()
    begun: Future[Callable[[], object]] = Future()
    ended: Future[None] = Future()

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        begun.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        await serve(listener, app, stop=stop, names=names)

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as error:
            ended.set_exception(error)
            raise
        ended.set_result(None)

    # A daemon, so that a server that does not stop fails its test and not the whole run.
    Thread(target=run, daemon=True).start()
    stop = begun.result(timeout=30)
    try:
        yield f"http://{host}:{port}"
    finally:
        stop()
        # Shorter than a hold: held polls must not keep the server from stopping.
        ended.result(timeout=30)
