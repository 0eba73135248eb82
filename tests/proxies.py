"""A real nginx or Apache in front of a platform, with the configuration that the docs show."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.packages import require
from tests.platform_process import ROOT
from tests.support import free_port, wait_until

PAGE = ROOT / "docs" / "howto" / "proxies.md"
# What the page says, and who serves when the proxy is started by root.
SOCKET, TCP, FILES = "/run/shop/web.sock", "127.0.0.1:5200", "/etc/ssl/shop"
USER, GROUP = "nobody", "nogroup"

NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""

APACHE = """
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
ServerName shop.example
Listen 127.0.0.1:{port}
{user}
{modules}
{site}
"""
MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "ssl", "headers")


@contextmanager
def nginx(folder: Path, backend: str, certificates: Path) -> Iterator[str]:
    """Yield the address of an nginx in front of `backend`: a port of loopback or a unix socket."""
    program, port = require("nginx"), free_port()
    site = _shown("nginx", backend, certificates).replace(
        "listen 443 ssl", f"listen 127.0.0.1:{port} ssl"
    )
    user = f"user {USER} {GROUP};" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, site=site, user=user))
    log = folder / "error.log"
    command = [program, "-p", str(folder), "-e", str(log), "-c", str(config)]
    with _serving(command, log, folder / "nginx.pid"):
        yield f"https://127.0.0.1:{port}/shop"


@contextmanager
def apache(folder: Path, backend: str, certificates: Path) -> Iterator[str]:
    """Yield the address of an Apache in front of `backend`."""
    program, port = require("apache2"), free_port()
    site = _shown("apache", backend, certificates).replace("*:443", f"127.0.0.1:{port}")
    user = f"User {USER}\nGroup {GROUP}" if os.geteuid() == 0 else ""
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES
    )
    config = folder / "apache.conf"
    config.write_text(
        APACHE.format(folder=folder, port=port, site=site, user=user, modules=modules)
    )
    command = [program, "-d", str(folder), "-f", str(config), "-DFOREGROUND"]
    with _serving(command, folder / "error.log", folder / "apache.pid"):
        yield f"https://127.0.0.1:{port}/shop"


def _shown(language: str, backend: str, certificates: Path) -> str:
    """Return the configuration on the page, with this machine's paths and ports in it."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)
    assert found is not None
    text = found[1]
    assert SOCKET in text
    assert FILES in text
    text = text.replace(FILES, str(certificates))
    if backend.startswith("unix:"):
        return text.replace(f"unix:{SOCKET}", backend)
    address = urlsplit(backend).netloc
    text = text.replace(f"server unix:{SOCKET};", f"server {address};")
    return text.replace(f"unix:{SOCKET}|http://localhost/", f"http://{address}/")


@contextmanager
def _serving(command: list[str], log: Path, pid_file: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text()
            return pid_file.exists() and bool(pid_file.read_text())

        wait_until(serves)
        yield
    finally:
        process.terminate()
        process.wait(20)
