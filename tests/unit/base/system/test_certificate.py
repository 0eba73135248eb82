import time
from pathlib import Path

from skep.base.system.certificate import expiry
from tests.certificate import certificate


def test_the_end_of_a_certificate_is_read_from_its_file(tmp_path: Path) -> None:
    certificate(tmp_path, "localhost")
    end = expiry(str(tmp_path / "cert.pem"))
    assert end is not None
    assert 86400 < end - time.time() <= 2 * 86400


def test_a_file_without_a_certificate_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    assert expiry(str(tmp_path / "empty.pem")) is None
    assert expiry(str(tmp_path / "missing.pem")) is None
