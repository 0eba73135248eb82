"""`platform lint state`: finds, in source code, what outlives a request: mutable state of modules
and classes.

A worker serves thousands of requests, one after the other and at the same time. What a module or a
class holds is shared by all of them, unlike a local variable, `request.state` or a ContextVar.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from skep.base.errors import UsageError
from skep.cli.platform_handle import PlatformHandle, verb

# A comment that accepts shared state.
ACCEPTED = "# shared:"

_MAKERS = frozenset(
    {"list", "dict", "set", "bytearray", "deque", "defaultdict", "OrderedDict", "Counter"}
    | {"ChainMap", "SimpleNamespace"}
)
_CHANGING = frozenset(
    {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "setdefault"}
    | {"pop", "popitem", "popleft", "remove", "discard", "clear", "sort", "reverse"}
)
# Fields of these are copied for every object, or are not attributes of the class.
_COPYING = frozenset(
    {"Settings", "Task", "Event", "BaseModel", "TypedDict", "NamedTuple", "Struct"}
)
_LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


@dataclass(frozen=True, order=True)
class Finding:
    """One place, and what is shared there."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


@click.group("lint")
def lint() -> None:
    """Find mistakes in plugins without running them."""


@verb("state", "plugins", group=lint)
def state(platform: PlatformHandle) -> None:
    """List the state of modules and classes that all requests of a worker share.

    A line that ends with a comment `# shared: REASON` is left out. Exit codes: 0 nothing was found,
    1 something was.
    """
    folders = [Path(folder) for folder in platform.starting_options.plugins]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"There is no plugin folder {folder}; give another with --plugins.")
    try:
        files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
        found = [finding for path in files for finding in examine(path.read_text(), str(path))]
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: {error.msg}.") from error
    for finding in found:
        click.echo(finding)
    if found:
        click.echo(f"{len(found)} found; `{ACCEPTED} REASON` at the end of a line accepts it.")
    sys.exit(1 if found else 0)


def examine(source: str, file: str) -> list[Finding]:
    """Return what is found in one file. Raises SyntaxError."""
    tree = ast.parse(source, file)
    lines = source.splitlines()
    found = {
        Finding(file, line, text)
        for line, text in [*_held(tree), *_rebound(tree), *_assigned(tree), *_defaults(tree)]
        if ACCEPTED not in lines[line - 1]
    }
    return sorted(found)


def _held(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Mutable containers bound in the body of a module or a class.

    One of a module that nothing in the file changes, and whose name is that of a constant, is taken
    for one.
    """
    changed = set(_changed(tree))
    for name, value in _bindings(tree.body):
        if _is_mutable(value) and not _is_dunder(name) and (name in changed or not name.isupper()):
            yield value.lineno, f"the module global {name} is mutable and shared by all requests"
    for cls in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        for name, value in _bindings(cls.body, fields=not _copies(cls)):
            if _is_mutable(value) and not _is_dunder(name):
                text = f"the class attribute {cls.name}.{name} is mutable and shared by all objects"
                yield value.lineno, text


def _rebound(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            for name in node.names:
                yield node.lineno, f"the module global {name} is assigned to by a function"


def _assigned(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Assignments to attributes of classes, from within functions."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {"cls"}
    for function in _functions(tree):
        for node in ast.walk(function):
            for target in _targets(node):
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id in classes
                ):
                    name = f"{target.value.id}.{target.attr}"
                    yield target.lineno, f"the class attribute {name} is assigned to by a function"


def _defaults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for function in _functions(tree):
        arguments = function.args
        for default in [*arguments.defaults, *(d for d in arguments.kw_defaults if d)]:
            if _is_mutable(default):
                text = f"a default of {function.name}() is mutable and shared by all calls"
                yield default.lineno, text


def _changed(tree: ast.Module) -> Iterator[str]:
    """The names of what is changed in place somewhere in the file."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
                if method in _CHANGING:
                    yield name
        for target in _targets(node):
            if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                yield target.value.id
            elif isinstance(node, ast.AugAssign) and isinstance(target, ast.Name):
                yield target.id


def _targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets) | ast.Delete(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
    return []


def _bindings(body: list[ast.stmt], fields: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """Name and value of each assignment; without `fields` not of those that only annotate one."""
    for node in body:
        match node:
            case ast.Assign(targets=targets, value=value):
                yield from ((t.id, value) for t in targets if isinstance(t, ast.Name))
            case ast.AnnAssign(
                target=ast.Name(id=name), value=ast.expr() as value, annotation=hint
            ):
                if fields or "ClassVar" in ast.unparse(hint):
                    yield name, value


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, _LITERALS):
        return True
    return isinstance(value, ast.Call) and _last_name(value.func) in _MAKERS


def _copies(cls: ast.ClassDef) -> bool:
    return any(_last_name(base) in _COPYING for base in cls.bases)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
