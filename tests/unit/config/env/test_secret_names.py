"""The names that plugins declare secret, on the disk."""

import json
import stat
from pathlib import Path

from skep.base.logs.masking import is_secret
from skep.config.env.secret_names import declare_kept, keep


def test_names_are_kept_for_processes_that_import_no_plugin_and_none_is_dropped(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "config"
    declare_kept(folder)
    keep(folder, ["LINDEN", "ASPEN"])
    keep(folder, ["ROWAN"])
    keep(folder, [])
    file = folder / "secret_names.json"
    assert json.loads(file.read_text()) == ["ASPEN", "LINDEN", "ROWAN"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert is_secret("linden")
    file.write_text('["HAZEL", 7]')
    declare_kept(folder)
    assert is_secret("HAZEL")
    file.write_text("[broken")
    declare_kept(folder)


def test_a_folder_that_cannot_be_written_is_no_error_and_the_names_are_masked(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    keep(tmp_path / "file" / "config", ["ELDER"])
    assert is_secret("ELDER")
