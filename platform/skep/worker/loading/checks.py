"""What can be checked of a plugin before anything of it runs."""

from collections.abc import Mapping

from pydantic import ValidationError

from skep.api.naming import plugin_of
from skep.api.plugin import Plugin
from skep.config.env.settings import Settings, current_epoch, undeclared_text
from skep.wire.plan import Problem


def check_used_settings(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Return a problem for each Settings class that was read during the import and that no plugin
    declares."""
    declared = {settings for plugin in plugins.values() for settings in plugin.settings}
    return [
        Problem("settings", undeclared_text(cls), plugin_of(cls.__module__))
        for cls in sorted(current_epoch().known() - declared, key=lambda cls: cls.__qualname__)
    ]


def check_settings(plugins: Mapping[str, Plugin]) -> list[Problem]:
    """Validate every Settings class against the environment.

    Returns a problem for each field that does not fit, with its key and never its value.
    """
    problems: list[Problem] = []
    for name, plugin in plugins.items():
        for settings in plugin.settings:
            problems.extend(
                Problem("settings", text, name, rule="schema") for text in _faults(settings)
            )
    return problems


def _faults(settings: type[Settings]) -> list[str]:
    try:
        settings.current()
    except ValidationError as error:
        return [
            f"{_key(settings, fault['loc'])} does not fit {settings.__name__}: {fault['msg']}."
            for fault in error.errors(include_input=False, include_url=False, include_context=False)
        ]
    return []


def _key(settings: type[Settings], location: tuple[int | str, ...]) -> str:
    """The key that a fault is about; of a field with aliases it is the alias that is told."""
    name = str(location[0]) if location else ""
    field = settings.model_fields.get(name)
    return (settings.keys_of(name, field)[0] if field else name).upper()
