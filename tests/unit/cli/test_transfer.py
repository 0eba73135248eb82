"""`platform config-server export` and `import`: what is moved, and the way there and back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skep.base.errors import UsageError
from skep.cli.config_server import config_server
from skep.cli.config_server.places import Contents, DirectoryPlace, OwnPlace
from skep.cli.config_server.transfer import plan_transfer
from skep.configserver.editing.desk import EditingDesk
from skep.configserver.editing.release_steps import ReleaseTitle
from skep.configserver.model.items import Draft
from skep.configserver.model.names import Address
from skep.configserver.model.rights import system_actor
from skep.configserver.storage.database import ConfigDatabase
from tests.configserver import RunningConfigServer, running_config_server

ANN = system_actor("ann")
AT = Address("shop", "default", "application")
LINES = [
    Draft("", "", "# the web server"),
    Draft("PORT", "80"),
    Draft("", "", ""),
    Draft(" odd key:=#", "  two\nlines \\ and ünï = ! "),
    Draft("EMPTY", ""),
]
DOCUMENT = 'a: "x"\nb: [1, 2]\n'


def contents(released: dict[str, str] | None, **items: str) -> Contents:
    return Contents(tuple(Draft(key, text) for key, text in items.items()), released)


def test_a_plan_takes_what_is_in_force_and_names_what_differs() -> None:
    names = ("new", "same", "edited", "changed", "unpublished")
    new, same, edited, changed, unpublished = (AT._replace(namespace=name) for name in names)
    source = {
        new: contents({"A": "1"}, A="2", B="3"),
        same: contents({"A": "1"}, A="1"),
        edited: contents({"A": "1"}, A="1"),
        changed: contents({"A": "1"}, A="1"),
        unpublished: contents(None, A="1"),
    }
    target = {
        same._replace(app_id="SHOP"): contents({"A": "1"}, A="1"),
        # An edit that is not published would be lost
        edited: contents({"A": "1"}, A="2"),
        changed: contents({"A": "0"}, A="0"),
    }
    plan = plan_transfer(source, target, unpublished=False)
    assert plan.new == {new: (Draft("A", "1"),)}
    assert plan.same == [same]
    assert list(plan.changed) == [edited, changed]
    assert plan.left == [unpublished]
    plan = plan_transfer(source, target, unpublished=True)
    assert plan.new == {new: (Draft("A", "2"), Draft("B", "3")), unpublished: (Draft("A", "1"),)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningConfigServer]:
    """Another config server, with its own data directory."""
    (tmp_path / "there").mkdir()
    with running_config_server(tmp_path / "there") as running:
        yield running


def fill(data_dir: Path) -> None:
    (data_dir / "configserver").mkdir(parents=True)
    with ConfigDatabase(data_dir / "configserver/config.db") as database:
        desk = EditingDesk(database)
        title = ReleaseTitle("t")
        desk.publisher.introduce(ANN, AT, LINES, title)
        blue = Address("shop", "blue", "db.yaml")
        desk.publisher.introduce(ANN, blue, [Draft("content", DOCUMENT)], title)
        desk.publisher.introduce(ANN, Address("Other", "default", "x"), [], title)


def empty(data_dir: Path) -> None:
    (data_dir / "configserver").mkdir(parents=True)
    with ConfigDatabase(data_dir / "configserver/config.db"):
        pass


def read(data_dir: Path) -> dict[Address, Contents]:
    with ConfigDatabase(data_dir / "configserver/config.db") as database:
        return OwnPlace(EditingDesk(database), ANN).read()


def run(data_dir: Path, *words: str, code: int = 0) -> str:
    where = ["--data-dir", str(data_dir), "--env-file", str(data_dir / ".env")]
    done: Result = CliRunner().invoke(config_server, [*words, *where])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def test_files_round_trip_with_comments_and_odd_keys(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    empty(tmp_path / "two")
    files = tmp_path / "files"
    assert "3 new" in run(tmp_path / "one", "export", str(files))
    assert sorted(str(path.relative_to(files)) for path in files.rglob("*.*")) == [
        "Other/default/x.properties",
        "shop/blue/db.yaml",
        "shop/default/application.properties",
    ]
    assert (files / "shop/blue/db.yaml").read_text() == DOCUMENT
    assert (files / "shop/blue/db.yaml").stat().st_mode & 0o077 == 0
    assert "3 new" in run(tmp_path / "two", "import", str(files))
    assert read(tmp_path / "two") == read(tmp_path / "one")
    assert "0 new, 0 overwritten, 3 the same" in run(tmp_path / "two", "import", str(files))
    assert "3 the same" in run(tmp_path / "one", "export", str(files))


def test_nothing_is_overwritten_without_saying(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    files = tmp_path / "files"
    run(tmp_path / "one", "export", str(files))
    (files / "shop/default/application.properties").write_text("PORT=81\n")
    (files / "shop/default/more.txt").write_text("hello")
    before = read(tmp_path / "one")
    for words in (("import", str(files)), ("export", str(files))):
        said = run(tmp_path / "one", *words, code=1)
        assert "differs: shop+default+application" in said
        assert "Nothing was written" in said
    assert read(tmp_path / "one") == before
    said = run(tmp_path / "one", "import", str(files), "--overwrite", "--dry-run")
    assert "would be overwritten: shop+default+application" in said
    assert read(tmp_path / "one") == before
    said = run(tmp_path / "one", "import", str(files), "--overwrite")
    assert "\noverwritten: shop+default+application" in f"\n{said}"
    found = read(tmp_path / "one")
    assert found[AT].values == found[AT].released == {"PORT": "81"}
    assert found[AT._replace(namespace="more.txt")].values == {"content": "hello"}


def test_what_is_not_published_is_left_out_and_named(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    with ConfigDatabase(tmp_path / "one/configserver/config.db") as database:
        EditingDesk(database).items.put(ANN, AT, Draft("PORT", "90"))
        EditingDesk(database).items.put(ANN, AT._replace(namespace="draft"), Draft("A", "1"))
    files = tmp_path / "files"
    said = run(tmp_path / "one", "export", str(files), "--app", "shop")
    assert "shop+default+application: its unpublished changes are left out" in said
    assert "left out: shop+default+draft has no release" in said
    assert DirectoryPlace(files).read()[AT].values["PORT"] == "80"
    said = run(tmp_path / "one", "export", str(tmp_path / "all"), "--unpublished")
    assert DirectoryPlace(tmp_path / "all").read()[AT].values["PORT"] == "90"


def test_another_server_round_trips(server: RunningConfigServer, tmp_path: Path) -> None:
    fill(tmp_path / "one")
    empty(tmp_path / "two")
    there = (server.url, "--token-file", str(tmp_path / "there/token"))
    assert "3 new" in run(tmp_path / "one", "export", *there)
    found = server.config("db.yaml", app_id="shop", cluster="blue").json()
    assert found["configurations"] == {"content": DOCUMENT}
    assert "3 the same" in run(tmp_path / "one", "export", *there)
    run(tmp_path / "two", "import", *there, "--app", "shop", "--app", "Other")
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert {at: one[at].values for at in one} == {at: two[at].released for at in one}
    # A key that is gone here is deleted there, but only when told to
    with ConfigDatabase(tmp_path / "one/configserver/config.db") as database:
        desk = EditingDesk(database)
        desk.items.delete(ANN, AT, "EMPTY")
        desk.publisher.publish(ANN, AT, ReleaseTitle("t"))
    assert "differs" in run(tmp_path / "one", "export", *there, code=1)
    run(tmp_path / "one", "export", *there, "--overwrite")
    assert "EMPTY" not in json.dumps(server.config(app_id="shop").json())


def test_a_token_goes_with_a_url(tmp_path: Path) -> None:
    empty(tmp_path / "one")
    with pytest.raises(UsageError, match="needs --token-file"):
        run(tmp_path / "one", "import", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="goes with a URL"):
        run(tmp_path / "one", "import", str(tmp_path), "--token-file", "x")
    with pytest.raises(UsageError, match="no namespace"):
        run(tmp_path / "one", "import", str(tmp_path / "nothing"))
