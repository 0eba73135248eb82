"""The plugins' routes on several listeners at once: unix socket, IPv6, TLS."""

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx

from tests.platform_process import Platform
from tests.support import wait_until


def certificate(folder: Path, name: str) -> bytes:
    """Make a certificate for localhost; return it in DER."""
    assert shutil.which("openssl"), "openssl is missing: apt-get install openssl"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    files = ["-subj", f"/CN={name}", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*made.split(), *files], cwd=folder, check=True, capture_output=True)
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


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
    first = certificate(tmp_path, "first")
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    sampled.start(*files)
    assert sampled.url.startswith("https://127.0.0.1:")
    host, port = "127.0.0.1", int(sampled.url.rpartition(":")[2])

    def shown() -> bytes:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port)))

    assert shown() == first
    assert httpx.get(sampled.url, verify=False).json()["generation"] == 1
    second = certificate(tmp_path, "second")
    assert sampled.cli("reload").returncode == 0
    wait_until(lambda: shown() == second)
    (tmp_path / "cert.pem").write_text("no certificate")
    done = sampled.cli("reload")
    assert done.returncode == 1
    assert "cert.pem" in done.stderr
    assert shown() == second
