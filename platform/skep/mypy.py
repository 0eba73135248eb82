"""What mypy needs to read `name: Str[32]` in a table: `plugins = ["skep.mypy"]` in its
configuration. Other type checkers read `name: Annotated[str, 32]`, which is the same."""

from collections.abc import Callable

from mypy.plugin import AnalyzeTypeContext, Plugin
from mypy.types import RawExpressionType, Type

_COLUMNS = {
    "skep.api.tables.columns.Str": "builtins.str",
    "skep.api.tables.columns.Bytes": "builtins.bytes",
}


class TablesPlugin(Plugin):
    """Reads a column with a bound as the type of its values."""

    def get_type_analyze_hook(self, fullname: str) -> Callable[[AnalyzeTypeContext], Type] | None:
        kind = _COLUMNS.get(fullname)
        return None if kind is None else lambda context: _column(context, kind)


def _column(context: AnalyzeTypeContext, kind: str) -> Type:
    match context.type.args:
        case [RawExpressionType(literal_value=int())]:
            pass
        case _:
            context.api.fail("A column has one bound, as Str[32].", context.context)
    return context.api.named_type(kind, [])


def plugin(version: str) -> type[Plugin]:
    """Return the class of the plugin; mypy calls this."""
    return TablesPlugin
