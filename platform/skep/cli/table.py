"""`platform table …`: shared tables, with a running platform and without one."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.markup import escape

from skep.api.tables.table import RESERVED
from skep.base.errors import NotRunning, UsageError
from skep.cli.output import print_facts, print_table, show, size
from skep.cli.platform_handle import PlatformHandle, verb
from skep.table import schema as file
from skep.table.binding import Tables
from skep.table.column import converted
from skep.table.schema import Version
from skep.table.space import Row, Space, now_ms

_UNKNOWN = 1
_BATCH = 500
# Beside the columns of a row.
_EXPIRES = "expires_in"


@click.group("table")
def table() -> None:
    """List shared tables; read, change and save their rows.

    All of it works with a running platform and without one. Bytes are base64.
    """


@verb("ls", group=table, json=True)
def ls(platform: PlatformHandle, as_json: bool) -> None:
    """List the tables: how many rows each has and may have, its columns, the largest it can get.

    A table is marked if no plugin of the running platform declares it, and an older version of a
    table if another process may still use it.
    """
    declared = _declared(platform)
    with _opened(platform) as tables, tables.reading() as txn:
        versions = list(file.versions(txn))
        newest = {version.schema.name: version.number for version in versions}
        found = [
            {
                **_described(txn, version),
                "declared": _is_declared(version.schema.name, declared),
                "newest": newest[version.schema.name] == version.number,
            }
            for version in versions
        ]
    show(found, as_json, _print_tables)


@verb("get", group=table, json=True)
@click.argument("name", metavar="TABLE")
@click.argument("key", required=False)
def get(platform: PlatformHandle, name: str, key: str | None, as_json: bool) -> None:
    """Show the row with this KEY; without one, the first 100 rows.

    The exit code is 1 if there is no such row.
    """
    with _opened(platform) as tables:
        space = _space(tables, name)
        if key is None:
            rows = (_document(space, row) for row in space.scan(tables.reading))
            show([row for _, row in zip(range(100), rows, strict=False)], as_json, _print_rows)
            return
        with tables.reading() as txn:
            row = space.full(txn, space.key(key))
    found = None if row is None else _document(space, row)
    show(found, as_json, _print_row)
    if found is None:
        click.echo(f"The table {name} has no row {key!r}.", err=True)
        sys.exit(_UNKNOWN)


@verb("set", group=table)
@click.argument("name", metavar="TABLE")
@click.argument("key")
@click.argument("values", nargs=-1, required=True, metavar="COLUMN=VALUE...")
def set_row(platform: PlatformHandle, name: str, key: str, values: tuple[str, ...]) -> None:
    """Set columns of a row, which is made if it is not there.

    A text is written as it is, anything else as in JSON: `name=Ann n=7 on=true`.
    """
    with _opened(platform) as tables, _usage_errors():
        space = _space(tables, name)
        kinds = {column.name: column.kind for column in space.schema.columns}
        given: dict[str, Any] = {}
        for value in values:
            column, _, text = value.partition("=")
            is_text = kinds.get(column) in ("str", "bytes")
            given[column] = text if is_text else _json(text, value)
        with tables.writing() as txn:
            _set(space, txn, {**given, "key": key})


@verb("dump", group=table)
@click.argument("name", metavar="TABLE")
def dump(platform: PlatformHandle, name: str) -> None:
    """Write all rows to standard output, one JSON object a line, for `platform table load`."""
    with _opened(platform) as tables:
        space = _space(tables, name)
        for row in space.scan(tables.reading):
            click.echo(json.dumps(_document(space, row)))


@verb("load", group=table)
@click.argument("name", metavar="TABLE")
@click.argument("source", type=click.File(), default="-")
def load(platform: PlatformHandle, name: str, source: Any) -> None:
    """Set the rows that `platform table dump` has written to SOURCE, or to standard input.

    Rows with other keys stay. At a line that does not fit it stops, with exit code 2; the batch of
    500 lines to which that belongs is not loaded.
    """
    number = 0
    with _opened(platform) as tables, _usage_errors(lambda: f"line {number}: "):
        space = _space(tables, name)
        while lines := [line for line, _ in zip(source, range(_BATCH), strict=False)]:
            with tables.writing() as txn:
                for line in lines:
                    number += 1
                    _set(space, txn, _json(line, line))
    click.echo(f"{number} rows set.")


@verb("clear", group=table)
@click.argument("name", metavar="TABLE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def clear(platform: PlatformHandle, name: str, yes: bool) -> None:
    """Delete all rows of a table."""
    with _opened(platform) as tables:
        space = _space(tables, name)
        if not yes:
            with tables.reading() as txn:
                count = space.count(txn)
            click.confirm(f"Delete {count} rows of the table {name}?", abort=True)
        with tables.writing() as txn:
            gone = space.clear(txn)
    click.echo(f"{gone} rows deleted.")


@verb("drop", group=table)
@click.argument("name", metavar="TABLE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def drop(platform: PlatformHandle, name: str, yes: bool) -> None:
    """Remove a table with all rows and versions, so that it takes no room any more.

    One that a plugin of the running platform declares is refused, and one of the platform's own:
    `platform table clear` empties it. A table that is dropped while no platform is running is made
    again, empty, if it is declared at the next start.
    """
    if _is_declared(name, _declared(platform)):
        raise UsageError(f"The table {name} is in use: `platform table clear {name}` empties it.")
    with _opened(platform) as tables:
        space = _space(tables, name)
        if not yes:
            with tables.reading() as txn:
                count = space.count(txn)
            click.confirm(f"Remove the table {name} with {count} rows?", abort=True)
        with tables.writing() as txn:
            for version in list(file.versions(txn, name)):
                file.remove(txn, version)
    click.echo(f"The table {name} was removed.")


def _declared(platform: PlatformHandle) -> set[str] | None:
    """Return the tables that the plugins of the running platform declare, None if none runs."""
    try:
        return {*platform.ask("info")["plan"].get("tables", ())}
    except NotRunning:
        return None


def _is_declared(name: str, declared: set[str] | None) -> bool | None:
    """Return whether a table is in use, None if that is not known."""
    if name.startswith(RESERVED):
        return True
    return None if declared is None else name in declared


@contextmanager
def _opened(platform: PlatformHandle) -> Iterator[Tables]:
    folder = platform.run_dir.tables_dir
    if not folder.is_dir():
        raise UsageError(f"There are no tables in {folder.parent}.")
    tables = Tables(folder)
    try:
        yield tables
    finally:
        tables.close()


@contextmanager
def _usage_errors(where: Any = str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{where()}{error}") from error


def _space(tables: Tables, name: str) -> Space:
    """Return the newest version of a table."""
    with tables.reading() as txn:
        found = list(file.versions(txn, name)) if name else []
        if not found:
            known = ", ".join(sorted({v.schema.name for v in file.versions(txn)})) or "none"
            raise UsageError(f"There is no table {name!r}; there are: {known}.")
        space = Space(tables, found[-1].number, found[-1].schema)
        space.follow(txn)
    return space


def _set(space: Space, txn: Any, given: Any) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"a row is an object, not {given!r:.60}")
    values = {name: value for name, value in given.items() if name not in ("key", _EXPIRES)}
    columns = {column.name: column for column in space.schema.columns}
    made = {
        name: converted(columns[name], value) if name in columns else value
        for name, value in values.items()
    }
    key = space.key(given.get("key", ""))
    space.set(txn, key, space.changes(made))
    if isinstance(seconds := given.get(_EXPIRES), int | float):
        space.expire(txn, key, now_ms() + round(seconds * 1000))


def _json(text: str, whole: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{whole.strip()!r:.80} is not JSON: {error}") from error


def _document(space: Space, row: Row) -> dict[str, Any]:
    """Return a row as JSON has it."""
    key, expires, *values = row
    found = {"key": key}
    defaults = [column.default for column in space.schema.columns]
    for column, value in zip(
        space.schema.columns, [*values, *defaults[len(values) :]], strict=False
    ):
        found[column.name] = msgspec.to_builtins(value)
    if expires:
        found[_EXPIRES] = (expires - now_ms()) / 1000
    return found


def _described(txn: Any, version: Version) -> dict[str, Any]:
    schema = version.schema
    return {
        "name": schema.name,
        "count": Space(None, version.number, schema).count(txn),
        "rows": schema.rows,
        "columns": {
            column.name: f"{column.kind}[{column.bound}]" if column.bound else column.kind
            for column in schema.columns
        },
        "index": list(schema.indexes),
        "ttl": schema.ttl,
        "durable": schema.durable,
        "largest": schema.size,
        "used": version.used,
    }


def _print_tables(tables: list[dict[str, Any]]) -> None:
    rows = [
        (
            escape(one["name"]),
            str(one["count"]),
            str(one["rows"]),
            size(one["largest"]),
            escape(", ".join(f"{name} {kind}" for name, kind in one["columns"].items())),
            _mark(one),
        )
        for one in tables
    ]
    headings = ("table", "rows", "limit", "at most", "columns", "")
    print_table(headings, rows, right=("rows", "limit"))


def _mark(one: dict[str, Any]) -> str:
    if one["declared"] is False:
        return "[yellow]in no plugin[/yellow]"
    return "" if one["newest"] else "older version"


def _print_rows(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]) if rows else ["key"]
    print_table(names, [tuple(escape(f"{row.get(n, '')}"[:60]) for n in names) for row in rows])


def _print_row(row: dict[str, Any] | None) -> None:
    if row is not None:
        print_facts((name, escape(str(value))) for name, value in row.items())
