"""Templates of pages."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any


class PageTemplates:
    """The templates of some packages, the first ones first; loaded when a page is asked for, so
    that a server without visitors stays small."""

    def __init__(self, packages: Sequence[str], **always: Any) -> None:
        self._packages = packages
        self._always = always

    def render(self, template: str, /, **context: Any) -> str:
        """Return the text of a page."""
        text: str = self._environment.get_template(template).render(**self._always, **context)
        return text

    @cached_property
    def _environment(self) -> Any:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=ChoiceLoader([PackageLoader(package) for package in self._packages]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Callable[..., str]] = {"moment": moment, "iso": _iso}
        environment.filters.update(filters)
        return environment


def moment(milliseconds: int) -> str:
    """Return a time for people, in UTC."""
    return f"{_time(milliseconds):%Y-%m-%d %H:%M:%S} UTC"


def _iso(milliseconds: int) -> str:
    return f"{_time(milliseconds):%Y-%m-%dT%H:%M:%SZ}"


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
