"""Where the code lies, by the settings."""

from pathlib import Path

import pytest

from skep.config.options.sources import project, sources
from skep.config.options.table import Options


def test_without_the_watch_the_code_is_the_plugin_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B13: what is not watched costs nothing."""
    monkeypatch.chdir(tmp_path)
    found = sources(Options(watch_paths=("shop",), watch_types=("py",)))
    assert (found.folders, found.project) == ((tmp_path / "plugins",), None)
    assert (found.exclude, found.types) == ((), ())


def test_with_it_it_is_the_project_and_what_the_keys_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B13: PLATFORM_WATCH_PATHS, EXCLUDE and TYPES, as people write them."""
    monkeypatch.chdir(tmp_path)
    options = Options(
        watch=True,
        watch_paths=("shop", "/srv/shared"),
        watch_exclude=("./plugins/cache/", "*.json"),
        watch_types=("py", ".html", "*.css"),
    )
    found = sources(options)
    assert found.folders == (tmp_path / "plugins", tmp_path / "shop", Path("/srv/shared"))
    assert found.project == tmp_path
    assert found.exclude == ("plugins/cache", "*.json", str(tmp_path / ".platform"))
    assert found.types == (".py", ".html", ".css")


@pytest.mark.parametrize(
    ("plugins", "here", "is_one"),
    [
        (("plugins",), "", True),
        (("src/plugins",), "", True),
        (("/srv/elsewhere/plugins", "plugins"), "", True),
        (("/srv/elsewhere/plugins",), "", False),
        (("plugins",), "/", False),
    ],
)
def test_the_project_is_where_the_platform_was_started_if_plugins_lie_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plugins: tuple[str, ...],
    here: str,
    is_one: bool,
) -> None:
    """B13: of a folder that has nothing to do with the plugins nothing is imported."""
    monkeypatch.chdir(here or tmp_path)
    assert (project(Options(plugins=plugins)) is not None) is is_one
