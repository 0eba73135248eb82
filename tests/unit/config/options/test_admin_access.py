"""The files that guard the admin port, and when they are required."""

from pathlib import Path

import pytest

from skep.base.errors import UsageError
from skep.config.options.endpoints import check_admin_files, read_token
from skep.config.options.resolution import resolve
from skep.config.options.table import Options
from tests.certificate import certificate


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read .No such file"),
        ("", "holds no token"),
        ("tooshort", "holds no token"),
        ("two words of a sentence", "holds no token"),
        ("pässwörter sind keine", "holds no token"),
    ],
)
def test_a_token_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    """B7: the file and the option are named, what is in it is not."""
    file = tmp_path / "token"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=complaint) as raised:
        read_token(str(file))
    assert str(file) in str(raised.value)
    assert "--admin-token-file" in str(raised.value)
    assert not text or text not in str(raised.value)


def test_a_token_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  correct-horse-battery \n")
    assert read_token(str(tmp_path / "token")) == "correct-horse-battery"
    assert read_token("") == ""


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    certificate(tmp_path, "shop")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    check_admin_files(Options(admin_tls_cert=cert, admin_tls_key=key))
    with pytest.raises(UsageError, match=f"{cert} .*--admin-tls-cert and --admin-tls-key"):
        check_admin_files(Options(admin_tls_cert=cert))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_requires_no_guard(host: str) -> None:
    assert resolve({"admin_host": host}, {}).admin_host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "admin.internal"])
def test_every_other_address_requires_one(host: str) -> None:
    """B7: a token or a certificate."""
    with pytest.raises(UsageError, match="requires --admin-token-file or --admin-tls-cert"):
        resolve({"admin_host": host}, {})
    assert resolve({"admin_host": host, "admin_token_file": "t"}, {}).admin_host == host
    assert resolve({"admin_host": host, "admin_tls_cert": "c"}, {}).admin_host == host


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="--admin-tls-key without an --admin-tls-cert"):
        resolve({"admin_tls_key": "k"}, {})


@pytest.mark.parametrize("name", ["http://x", "x:80", "x/y", "*", "", "a b"])
def test_allowed_hosts_are_names(name: str) -> None:
    with pytest.raises(UsageError, match=r"PLATFORM_ALLOWED_HOSTS is .*; it takes names like"):
        resolve({}, {"PLATFORM_ALLOWED_HOSTS": name or "x,/"})
