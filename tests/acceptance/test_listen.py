"""The plugins' routes on several listeners at once: unix socket, IPv6, TLS."""

import json
import socket
import ssl
from pathlib import Path

import httpx

from tests.certificate import believing, certificate, shown
from tests.platform_process import Platform
from tests.support import wait_until

PLUGIN = """
from skep import HttpListener, Plugin, TcpHandler, TcpListener
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def scheme(request):
    return PlainTextResponse(request.url.scheme)

class Lines(TcpHandler):
    async def on_receive(self, connection, frame):
        await connection.send(frame)

plugin = Plugin(
    sockets=[
        TcpListener(Lines, name="lines", tls=True),
        HttpListener(
            [Route("/", scheme)], name="own", tls_cert="own/cert.pem", tls_key="own/key.pem"
        ),
    ],
)
"""


def test_a_unix_socket_and_ipv6_beside_each_other(sampled: Platform, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    sampled.start("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--uds", str(path))
    listeners = sampled.status()["listeners"]
    assert listeners["http-2"].startswith("http://[::1]:")
    assert listeners["http-3"] == f"unix:{path}"
    for address in (listeners["http"], listeners["http-2"]):
        assert httpx.get(address).json()["generation"] == 1
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://localhost/").json()["generation"] == 1
        assert sampled.cli("reload").returncode == 0
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://localhost/").json()["generation"] == 2
    assert path.stat().st_mode & 0o777 == 0o660
    sampled.stop()
    assert not path.exists()


def test_a_new_certificate_takes_a_reload_and_one_that_is_none_is_refused(
    sampled: Platform, tmp_path: Path
) -> None:
    (sampled.plugins / "secure.py").write_text(PLUGIN)
    (tmp_path / "own").mkdir()
    own = certificate(tmp_path / "own", "own")
    first = certificate(tmp_path, "first")
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    sampled.start(*files)
    assert sampled.url.startswith("https://127.0.0.1:")
    listeners = sampled.status()["listeners"]
    port, lines, other = (
        int(listeners[name].rpartition(":")[2]) for name in ("http", "secure.lines", "secure.own")
    )
    assert listeners["secure.lines"].startswith("tls://127.0.0.1:")
    assert (shown(port), shown(lines), shown(other)) == (first, first, own)
    assert httpx.get(sampled.url, verify=believing(tmp_path)).json()["generation"] == 1
    there = httpx.get(listeners["secure.own"], verify=believing(tmp_path / "own"))
    assert there.text == "https"
    second = certificate(tmp_path, "second")
    assert sampled.cli("reload").returncode == 0
    wait_until(lambda: (shown(port), shown(lines)) == (second, second))
    (tmp_path / "cert.pem").write_text("no certificate")
    done = sampled.cli("reload")
    assert done.returncode == 1
    assert "cert.pem" in done.stderr
    assert shown(port) == second


def visit(
    port: int, believer: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[str, ssl.SSLSession]:
    """Ask over TLS, in a session if one is given; return which worker has answered, and a session
    to go on with."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as sock,
        believer.wrap_socket(sock, server_hostname="localhost", session=session) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert client.session_reused == (session is not None)
        assert client.session is not None
        worker: str = json.loads(answer.partition(b"\r\n\r\n")[2])["worker"]
        return worker, client.session


def test_a_certificate_that_is_renewed_is_shown_without_anybody_having_to_say_so(
    sampled: Platform, tmp_path: Path
) -> None:
    def issue(name: str) -> bytes:
        """Renew as certbot does: new files, and a link that leads to them from one moment on."""
        (tmp_path / name).mkdir()
        made = certificate(tmp_path / name, name)
        (tmp_path / "next").symlink_to(name)
        (tmp_path / "next").replace(tmp_path / "live")
        return made

    def outcome() -> tuple[str, str]:
        last = sampled.status()["last_rollout"]
        return last["cause"], last["outcome"]

    first, live = issue("first"), tmp_path / "live"
    sampled.start("--tls-cert", str(live / "cert.pem"), "--tls-key", str(live / "key.pem"))
    port = int(sampled.url.rpartition(":")[2])
    assert shown(port) == first
    # A session that one worker has begun is resumed by any of them
    believer, visited = believing(live), set[str]()
    _, session = visit(port, believer)

    def resume() -> bool:
        visited.add(visit(port, believer, session)[0])
        return len(visited) == 2

    wait_until(resume)
    # When the certificate is renewed, it is shown; a worker that is replaced shows the same
    second = issue("second")
    wait_until(lambda: shown(port) == second)
    wait_until(lambda: outcome() == ("certificate", "committed"))
    # When it is broken, that is told once, and the old one stays, in new workers too
    (live / "cert.pem").write_text("no certificate")
    wait_until(lambda: outcome() == ("certificate", "refused"))
    (problem,) = sampled.status()["last_rollout"]["problems"]
    assert "cert.pem" in str(problem)
    old = sampled.pids("web.")
    for pid in old.values():
        sampled.kill(pid)
    wait_until(lambda: len(set(sampled.pids("web.").values()) - set(old.values())) == 2)
    assert {shown(port) for _ in range(5)} == {second}
    # And when it is mended, that is seen too
    third = issue("third")
    wait_until(lambda: shown(port) == third)
    failed = 'platform_reloads_total{outcome="failed",reason="certificate"} 1'
    assert failed in sampled.metrics()
