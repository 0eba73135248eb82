"""Everything the plugins of a generation declare, by registered name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skep.api.cron import CronJob
    from skep.api.event import Event, Listener
    from skep.api.plugin import Plugin
    from skep.api.task import Task


@dataclass(frozen=True)
class Catalog:
    """The plugins, and what they declare together.

    Names are `plugin.Thing` (`orders.SendReceipt`): the same in the log, in metrics and in the
    engine. `listeners` maps an event's name to its listeners in the order in which they run.
    """

    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    tasks: Mapping[str, type[Task]] = field(default_factory=dict)
    events: Mapping[str, type[Event]] = field(default_factory=dict)
    listeners: Mapping[str, tuple[type[Listener[Event]], ...]] = field(default_factory=dict)
    crons: Mapping[str, CronJob] = field(default_factory=dict)
