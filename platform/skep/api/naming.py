"""The one name of a task, event or listener: in the log, in metrics, in the engine."""

_PLUGINS = "plugins."


def registered_name(cls: type) -> str:
    """Return `plugin.ClassName`.

    The plugin is the first part of the module's path below `plugins`; for a class that lives
    elsewhere, the last part of its module's name.
    """
    return f"{plugin_of(cls.__module__)}.{cls.__name__}"


def plugin_of(module: str) -> str:
    """Return the plugin that a module belongs to, by the same rule."""
    if module.startswith(_PLUGINS):
        return module.removeprefix(_PLUGINS).partition(".")[0]
    return module.rpartition(".")[2]
