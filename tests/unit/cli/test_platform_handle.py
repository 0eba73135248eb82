"""Which platform a verb is for."""

from pathlib import Path

import pytest

from skep.cli.platform_handle import PlatformHandle


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PLATFORM_DATA_DIR", "PLATFORM_ENV", "PLATFORM_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_the_data_directory_comes_from_every_layer_but_the_remote_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B9"""

    def found(**flags: str) -> str:
        return PlatformHandle(flags).run_dir.path.name

    assert found() == ".platform"
    (tmp_path / ".env").write_text(
        "PLATFORM_DATA_DIR=hand\n"
        "# >>> platform managed: do not edit >>>\nPLATFORM_DATA_DIR=remote\n"
        "# <<< platform managed <<<\n"
    )
    assert found() == "hand"
    # What else is wrong in the files is not asked: a platform must be there to be stopped
    (tmp_path / ".env.local").write_text("platform_data_dir=local\nPLATFORM_PORT=many\n")
    assert found() == "local"
    (tmp_path / ".env.staging").write_text("PLATFORM_DATA_DIR=staging\n")
    assert found(env="staging") == "staging"
    assert found(env_file=".env.staging") == "staging"
    monkeypatch.setenv("platform_data_dir", "environment")
    assert found() == "environment"
    assert found(data_dir="flag") == "flag"


def test_a_file_that_cannot_be_read_is_named_and_the_default_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("A='open\n")
    platform = PlatformHandle({})
    assert platform.run_dir.path.name == ".platform"
    assert platform.run_dir.path.name == ".platform"
    said = capsys.readouterr().err
    assert said.count(".env") == 1
    assert "taken to be .platform" in said
