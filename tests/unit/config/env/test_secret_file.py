import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.env.secret_file import read_or_make_token


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = read_or_make_token(path)
    assert len(token) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_token(path) == token
    assert list(tmp_path.iterdir()) == [path]


def test_many_who_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(read_or_make_token, [tmp_path / "token"] * 32))
    assert len(tokens) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    token = read_or_make_token(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"token may be read by others \(mode {mode:04o}\)") as e:
        read_or_make_token(path)
    assert token not in str(e.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"t\xc3\xb6ken", b"\xff", b"a\nb"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no token"):
        read_or_make_token(path)


def test_a_place_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_or_make_token(tmp_path / "nowhere" / "token")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_or_make_token(tmp_path)
