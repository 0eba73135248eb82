"""The one name of a task, event or listener: in the log, in metrics, in the engine."""

_PLUGINS = "plugins."


def registered_name(cls: type) -> str:
    """Return `plugin.ClassName`.

    The plugin is the first part of the module's path below `plugins`; for a class that lives
    elsewhere, the last part of its module's name.
    """
    module = cls.__module__
    if module.startswith(_PLUGINS):
        plugin = module.removeprefix(_PLUGINS).partition(".")[0]
    else:
        plugin = module.rpartition(".")[2]
    return f"{plugin}.{cls.__name__}"
