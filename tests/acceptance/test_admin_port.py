"""The admin port where other machines can reach it, and who is answered there."""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.certificate import believing, certificate, shown
from tests.load import Load
from tests.platform_process import ROOT, Platform
from tests.support import wait_until

TOKEN = "correct-horse-battery"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose admin port is on every address of this machine."""
    folder = tmp_path_factory.mktemp("guarded")
    certificate(folder, "shop")
    (folder / "token").write_text(f"{TOKEN}\n")
    platform = Platform(folder)
    platform.verify, platform.headers = believing(folder), BEARER
    platform.environment["PLATFORM_METRICS_NAMING"] = "otel"
    tls = ["--admin-tls-cert", "cert.pem", "--admin-tls-key", "key.pem"]
    hosts = ["--admin-host", "0.0.0.0", "--allowed-hosts", "metrics.internal"]
    try:
        yield platform.start(*hosts, *tls, "--admin-token-file", "token")
    finally:
        platform.stop()


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def test_metrics_take_the_token_and_probes_do_not(guarded: Platform) -> None:
    """B7: --admin-host with TLS and a token."""
    # An address of this machine on which nothing listens by default
    base = f"https://127.0.0.2:{port_of(guarded.admin)}"
    with httpx.Client(base_url=base, verify=guarded.verify) as client:
        for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            refused = client.get("/metrics", headers=wrong)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert "platform_" not in refused.text
        assert "platform_generation" in client.get("/metrics", headers=BEARER).text
        assert client.get("/readyz").json() == {"ready": True}
        assert client.get("/readyz", headers=BEARER).json() == {"ready": True, "missing": []}
        assert client.get("/healthz").json() == {"alive": True}
    assert TOKEN not in guarded.output()
    assert TOKEN not in guarded.cli("info").stdout


def test_metrics_are_also_where_spring_has_them_compressed_and_in_both_formats(
    guarded: Platform,
) -> None:
    wanted = {"accept": "application/openmetrics-text", "accept-encoding": "gzip"}
    with httpx.Client(base_url=guarded.admin, verify=guarded.verify, headers=BEARER) as client:
        assert client.get("/actuator/prometheus", headers={"authorization": ""}).status_code == 401
        page = client.get("/actuator/prometheus", headers=wanted)
        assert page.headers["content-encoding"] == "gzip"
        assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0")
        assert page.text.endswith("# EOF\n")
        plain = client.get("/metrics", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_http_metrics_have_the_names_that_are_set(guarded: Platform) -> None:
    """`PLATFORM_METRICS_NAMING=otel` names those that OpenTelemetry's conventions know."""
    assert httpx.get(f"{guarded.url}/missing").status_code == 404
    page = guarded.metrics()
    labels = 'http_request_method="GET",http_route="__unmatched__"'
    assert f"http_server_request_duration_seconds_count{{{labels}}} 1\n" in page
    assert "platform_http_request_duration_seconds" not in page
    assert 'platform_http_requests_total{method="GET",route="__unmatched__",status="404"} 1' in page


def test_the_end_of_the_certificate_can_be_watched(guarded: Platform) -> None:
    name = "platform_tls_certificate_expiry_timestamp_seconds"
    (end,) = re.findall(rf'{name}{{certificate=".*cert.pem"}} (\S+)', guarded.metrics())
    assert 86400 < float(end) - time.time() <= 2 * 86400


def test_a_renewed_certificate_of_the_admin_port_is_shown(guarded: Platform) -> None:
    """B7: it does not take a restart, and a broken one changes nothing."""
    port = port_of(guarded.admin)
    second = certificate(guarded.directory, "renewed")
    wait_until(lambda: shown(port) == second)
    guarded.verify = believing(guarded.directory)
    (guarded.directory / "cert.pem").write_text("broken")
    wait_until(lambda: "the admin port keeps its certificate" in guarded.output())
    assert shown(port) == second


def ask(port: int, *hosts: str, tls: ssl.SSLContext | None) -> tuple[int, str]:
    """Ask with any number of Host headers; return the status and all of the answer."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    with tls.wrap_socket(plain) if tls else plain as sock:
        head = "\r\n".join(["GET / HTTP/1.1", *(f"host: {host}" for host in hosts)])
        sock.sendall(f"{head}\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    return int(answer.split(" ")[1]), answer


@pytest.mark.parametrize("listener", ["admin", "config"])
def test_a_page_that_gives_its_name_our_address_reads_nothing(
    guarded: Platform, listener: str
) -> None:
    """D6: DNS rebinding, on the port of /metrics and on that of all configuration."""
    url = guarded.status()["listeners"][listener]
    port = port_of(url)
    tls = ssl._create_unverified_context() if url.startswith("https") else None
    for meant in ("localhost", "127.0.0.1", f"127.0.0.1:{port}", "[::1]", "Metrics.Internal:443"):
        assert ask(port, meant, tls=tls)[0] in (200, 307, 404), meant
    for foreign in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "192.0.2.1"):
        status, text = ask(port, foreign, tls=tls)
        assert status == 421, foreign
        assert "PLATFORM_ALLOWED_HOSTS" in text
        assert foreign in text
    assert ask(port, "localhost", "evil.example", tls=tls)[0] in (400, 421)
    assert ask(port, tls=tls)[0] in (400, 421)


def test_verbs_and_probes_are_answered_while_many_scrape(guarded: Platform) -> None:
    """D14: 60 clients loop over /metrics; one scrape runs at a time."""
    address = f"https://127.0.0.1:{port_of(guarded.admin)}"
    header = f"authorization: Bearer {TOKEN}"
    with Load(address, "/metrics", header=header, clients=60, ways=("kept",)) as load:
        wait_until(lambda: len(load.answers) > 60)
        assert guarded.cli("status").returncode == 0
        assert guarded.ask_admin("/healthz").status_code == 200
        assert guarded.cli("reload").returncode == 0
        assert guarded.ask_admin("/readyz").status_code == 200
    assert load.failures == []
    assert {answer.status for answer in load.answers} == {200}


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "--admin-host is '0.0.0.0', where other machines can reach /metrics"),
        (["--admin-token-file", "short"], 5, "short holds no token"),
    ],
)
def test_a_port_that_all_can_reach_is_refused_without_a_guard(
    tmp_path: Path, arguments: list[str], code: int, complaint: str
) -> None:
    """B7: the start names the option, the file, and what is accepted."""
    (tmp_path / "short").write_text("secret")
    platform = Platform(tmp_path)
    try:
        platform.start("--admin-host", "0.0.0.0", *arguments, ready=False)
        assert platform.wait_end() == code
        assert complaint in platform.output()
    finally:
        platform.stop()


def test_the_settings_of_the_page_for_containers_work_together(tmp_path: Path) -> None:
    """B7: what the Dockerfile of docs/howto/containers.md puts into the environment."""
    page = (ROOT / "docs" / "howto" / "containers.md").read_text()
    settings = dict(re.findall(r"(PLATFORM_\w+)=(\S+)", page.partition("VOLUME")[0]))
    assert len(settings) == 7
    (tmp_path / "token").write_text(TOKEN)
    here = {"/data": str(tmp_path / "data"), "/run/secrets/admin-token": str(tmp_path / "token")}
    for key, value in settings.items():
        settings[key] = next((value.replace(p, q) for p, q in here.items() if p in value), value)
    platform = Platform(tmp_path, **settings)
    platform.headers = BEARER
    try:
        platform.start()
        assert platform.url.startswith("http://0.0.0.0:")
        assert platform.ask_admin("/metrics").status_code == 200
        stopping = platform.process
        assert stopping is not None
        stopping.terminate()
        # Until the load balancer has noticed
        wait_until(lambda: platform.ask_admin("/readyz").status_code == 503)
        assert httpx.get(platform.url).status_code == 404
        assert platform.wait_end() == 0
    finally:
        platform.stop()
