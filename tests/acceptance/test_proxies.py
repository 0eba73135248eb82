"""One platform behind a real nginx and a real Apache, over TCP and over a unix socket."""

import grp
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests import proxies
from tests.certificate import believing, certificate
from tests.load import Load
from tests.platform_process import Platform, running

PLUGIN = """
import asyncio
import hashlib
from pathlib import Path

from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from skep import Plugin, Worker


def seen(connection):
    client = connection.client
    return {
        "client": client.host if client else None,
        "url": str(connection.url),
        "who": str(connection.url_for("who")),
        "worker": Worker.current().name,
    }


async def who(request):
    return JSONResponse(seen(request))


async def upload(request):
    digest = hashlib.sha256()
    async for part in request.stream():
        digest.update(part)
    return JSONResponse(digest.hexdigest())


async def stream(request):
    async def parts():
        yield b"first"
        while not Path(request.query_params["gate"]).exists():
            await asyncio.sleep(0.01)
        yield b"last"

    return StreamingResponse(parts())


async def chat(socket):
    await socket.accept()
    await socket.send_json(seen(socket))
    async for text in socket.iter_text():
        await socket.send_text(text)


plugin = Plugin(
    [
        Route("/who", who, name="who"),
        Route("/upload", upload, methods=["POST"]),
        Route("/stream", stream),
        WebSocketRoute("/chat", chat),
    ]
)
"""
# Another address of this machine than that of the proxies.
CLIENT = "127.0.0.9"
FORGED = {
    "x-forwarded-for": "6.6.6.6",
    "x-forwarded-prefix": "/evil",
    "x-forwarded-proto": "http",
    "x-real-ip": "6.6.6.6",
    "forwarded": "for=6.6.6.6",
}
WAYS = ["nginx-unix", "nginx-tcp", "apache-unix", "apache-tcp"]


@dataclass
class Site:
    """A platform, and the proxies in front of it, which are started when they are asked for."""

    platform: Platform
    folder: Path
    socket: Path
    group: str
    stack: ExitStack
    urls: dict[str, str]

    def url(self, way: str) -> str:
        """Return the address of a proxy."""
        if way not in self.urls:
            program, _, transport = way.partition("-")
            backend = f"unix:{self.socket}" if transport == "unix" else self.platform.url
            (folder := self.folder / way).mkdir()
            front = getattr(proxies, program)(folder, backend, self.folder)
            self.urls[way] = self.stack.enter_context(front)
        return self.urls[way]

    def client(self, way: str) -> httpx.Client:
        """Return a client of a proxy."""
        transport = httpx.HTTPTransport(verify=believing(self.folder), local_address=CLIENT)
        return httpx.Client(base_url=self.url(way), transport=transport, timeout=30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    # Proxies that were started by root become another user, who has to reach the socket.
    open_to_all = Path(tempfile.mkdtemp(prefix="skep-proxies-"))
    open_to_all.chmod(0o755)
    group = proxies.GROUP if os.geteuid() == 0 else grp.getgrgid(os.getgid()).gr_name
    directory = tmp_path_factory.mktemp("platform")
    certificate(open_to_all, "shop.example")
    (directory / "plugins").mkdir()
    (directory / "plugins" / "shop.py").write_text(PLUGIN)
    socket = open_to_all / "web.sock"
    listen = ["--listen", "127.0.0.1:0", "--uds", str(socket)]
    listen += ["--uds-group", group, "--uds-mode", "620"]
    trusted = ["--trusted-proxies", "unix", "--trusted-proxies", "127.0.0.1"]
    try:
        with running(directory, *listen, *trusted) as platform, ExitStack() as stack:
            yield Site(platform, open_to_all, socket, group, stack, {})
    finally:
        shutil.rmtree(open_to_all)


def check_seen(seen: dict[str, str], url: str, path: str) -> None:
    assert seen["client"] == CLIENT
    assert seen["url"] == f"{url}{path}"
    assert urlsplit(seen["who"]).path == "/shop/who"
    assert urlsplit(seen["who"]).netloc == urlsplit(url).netloc


def open_chat(site: Site, way: str, **headers: str) -> ClientConnection:
    return connect(
        f"{site.url(way).replace('https', 'wss')}/chat",
        ssl=believing(site.folder),
        source_address=(CLIENT, 0),
        additional_headers=headers,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_proxy_passes_on_who_asks_for_what(site: Site, way: str, tmp_path: Path) -> None:
    """B8, E10: client address, scheme and prefix are the proxy's and not the client's to say;
    WebSockets, uploads and streams pass."""
    url = site.url(way)
    with site.client(way) as client:
        for headers in ({}, FORGED):
            check_seen(client.get("/who", headers=headers).raise_for_status().json(), url, "/who")

        body = os.urandom(3_000_000)
        done = client.post("/upload", content=body).raise_for_status()
        assert done.json() == hashlib.sha256(body).hexdigest()

        gate = tmp_path / "gate"
        with client.stream("GET", "/stream", params={"gate": str(gate)}) as answer:
            parts = answer.iter_raw()
            assert next(parts) == b"first"  # the last part is not even written yet
            gate.touch()
            assert b"".join(parts) == b"last"

    with open_chat(site, way, **FORGED) as chat:
        check_seen(json.loads(chat.recv()), url.replace("https", "wss"), "/chat")
        rows = json.loads(site.platform.cli("conns", "--json").stdout)
        assert CLIENT in str(rows)
        chat.send("hello")
        assert chat.recv() == "hello"


def test_the_socket_is_for_the_proxy_s_group(site: Site) -> None:
    """B8: --uds-mode and --uds-group."""
    file = site.socket.stat()
    assert file.st_mode & 0o777 == 0o620
    assert grp.getgrgid(file.st_gid).gr_name == site.group


def test_no_request_fails_at_a_proxy_while_generations_are_replaced(site: Site) -> None:
    """B8: five reloads under load through each proxy; 0 failed requests."""
    urls = [urlsplit(site.url(way)) for way in WAYS]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(f"{url.scheme}://{url.netloc}", "/shop/who", clients=1))
            for url in urls
        ]
        chat = stack.enter_context(open_chat(site, "apache-unix"))
        for _ in range(5):
            before = [len(load.answers) for load in loads]
            assert site.platform.cli("reload").returncode == 0
            assert all(len(load.answers) > n for load, n in zip(loads, before, strict=True))
        with pytest.raises(ConnectionClosed) as closed:
            [chat.recv(timeout=30) for _ in range(2)]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    for load in loads:
        assert load.failures == []
        assert {answer.status for answer in load.answers} == {200}
