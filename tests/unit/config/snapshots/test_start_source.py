"""What there is to start from without a server, and how far down a policy goes."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from skep.base.errors import ConfigError
from skep.config.env import dotenv
from skep.config.snapshots.archive import Archive, Cache, Policy, StartSource
from skep.config.snapshots.snapshot import Release, Snapshot


def release(namespace: str = "a", key: str = "K1", **values: str) -> Release:
    return Release("orders", "blue", namespace, key, values)


def archive(directory: Path, names: Sequence[str] = ("a", "b")) -> Archive:
    return Archive(directory, "orders", "blue", names)


def commit(directory: Path, *releases: Release) -> None:
    names = [one.namespace for one in releases]
    assert archive(directory, names).commit(Snapshot(releases, 5.0))


def reserve(
    directory: Path, policy: Policy = "cache", names: Sequence[str] = ("a", "b")
) -> StartSource:
    return StartSource(archive(directory, names), directory / ".env", policy)


def found(directory: Path, policy: Policy = "cache") -> tuple[str, dict[str, str]] | None:
    stock = reserve(directory, policy).find()
    return (stock.source, stock.snapshot.values()) if stock else None


def test_the_applied_snapshot_counts_first(tmp_path: Path) -> None:
    commit(tmp_path, release("a", x="1"), release("b", y="1"))
    Cache(tmp_path / "namespaces", "orders", "blue").keep([release("a", "K2", x="2")])
    assert found(tmp_path) == ("cache", {"x": "1", "y": "1"})
    assert found(tmp_path, "require") is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 1}', b"\xff\x00"])
def test_when_the_applied_snapshot_is_damaged_the_namespaces_are_put_together(
    tmp_path: Path, data: bytes
) -> None:
    """F39."""
    commit(tmp_path, release("a", x="1"), release("b", y="1"))
    (tmp_path / "applied.json").write_bytes(data)
    assert found(tmp_path) == ("cache", {"x": "1", "y": "1"})


def test_a_namespace_that_is_not_there_is_empty_for_who_needs_none(tmp_path: Path) -> None:
    commit(tmp_path, release("a", x="1"))
    assert found(tmp_path) is None
    assert found(tmp_path, "optional") == ("cache", {"x": "1"})
    stock = reserve(tmp_path, "optional").find()
    assert stock is not None
    assert stock.snapshot.release_keys() == {"a": "K1", "b": ""}


def test_the_block_of_the_environment_file_counts_before_a_part(tmp_path: Path) -> None:
    commit(tmp_path, release("a", x="1"))
    (tmp_path / ".env").write_text("HAND=written\n")
    dotenv.write(tmp_path / ".env", {"x": "1", "y": "${z}\n"})
    assert found(tmp_path, "optional") == ("file", {"x": "1", "y": "${z}\n"})


def test_where_there_is_nothing_everything_is_empty(tmp_path: Path) -> None:
    assert found(tmp_path, "optional") == ("none", {})


def test_what_is_put_together_can_be_staged_and_loaded(tmp_path: Path) -> None:
    stock = reserve(tmp_path, "optional").find()
    assert stock is not None
    keeper = archive(tmp_path)
    assert keeper.load(keeper.stage(stock.snapshot)) == stock.snapshot


def test_an_environment_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{dotenv.BEGIN}\n")
    with pytest.raises(ConfigError, match=r"\.env"):
        reserve(tmp_path, "optional").find()


# The files of the namespaces


def cache(directory: Path, app_id: str = "orders", cluster: str = "blue") -> Cache:
    return Cache(directory, app_id, cluster)


def test_each_namespace_has_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    one = release("a/b c", x="1")
    cache(tmp_path).keep([one])
    (path,) = tmp_path.iterdir()
    assert path.name == "orders+blue+a%2Fb%20c.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cache(tmp_path).find("a/b c") == one


def test_a_file_that_holds_values_is_not_replaced_by_an_empty_release(tmp_path: Path) -> None:
    keeper = cache(tmp_path)
    keeper.keep([release("a", "K1", x="1")])
    keeper.keep([release("a", "K2")])
    keeper.keep([release("a", "")])
    assert keeper.find("a") == release("a", "K1", x="1")
    keeper.keep([release("b", "K1")])
    assert keeper.find("b") == release("b", "K1")
    keeper.keep([release("c", "")])
    assert keeper.find("c") is None


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "orders+blue+a.json.tmp-1").touch()
    cache(tmp_path).keep([release("a", x="1")])
    assert list(tmp_path.iterdir()) == [cache(tmp_path).path("a")]


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    keeper = cache(tmp_path)
    keeper.keep([release("a", x="1")])
    before = keeper.path("a").stat().st_ino
    keeper.keep([release("a", x="1")])
    cache(tmp_path).keep([release("a", x="1")])
    assert keeper.path("a").stat().st_ino == before
    keeper.keep([release("a", "K2", x="1")])
    assert keeper.path("a").stat().st_ino != before


@pytest.mark.parametrize(
    "whose", [("other", "blue", "a"), ("orders", "green", "a"), ("orders", "blue", "b")]
)
def test_somebody_else_s_file_is_ignored_with_a_warning(
    tmp_path: Path, whose: tuple[str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """F39."""
    cache(tmp_path).keep([release("a", x="1")])
    app_id, cluster, namespace = whose
    other = cache(tmp_path, app_id, cluster)
    os.rename(cache(tmp_path).path("a"), other.path(namespace))
    assert other.find(namespace) is None
    assert "belongs to another" in caplog.text


def test_a_damaged_file_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F39."""
    keeper = cache(tmp_path)
    keeper.keep([release("a", x="12345")])
    path = keeper.path("a")
    path.write_bytes(path.read_bytes().replace(b"12345", b"54321"))
    assert keeper.find("a") is None
    assert "its checksum is wrong" in caplog.text
    assert "54321" not in caplog.text
    keeper.keep([release("a", x="6")])
    assert keeper.find("a") == release("a", x="6")
