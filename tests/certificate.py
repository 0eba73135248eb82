"""Certificates for tests, made by openssl."""

import ssl
import subprocess
from pathlib import Path

from tests.packages import require


def certificate(folder: Path, name: str, days: int = 2) -> bytes:
    """Make `cert.pem` and `key.pem` of a name in a folder; return the certificate in DER."""
    made = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days}"
    files = ["-subj", f"/CN={name}", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(
        [require("openssl"), *made.split(), *files], cwd=folder, check=True, capture_output=True
    )
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


def shown(port: int) -> bytes:
    """Return the certificate that is shown at a port of this machine, in DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=10))


def believing(folder: Path) -> ssl.SSLContext:
    """Return a client context that trusts `cert.pem` and nothing else."""
    context = ssl.create_default_context(cafile=folder / "cert.pem")
    context.check_hostname = False  # the certificate has a name, not an address
    return context
