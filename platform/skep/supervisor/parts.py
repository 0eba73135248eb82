"""The parts of a supervisor: what they are made of, and which needs which."""

import time
import uuid
from collections.abc import Callable
from typing import Protocol

from skep.config.snapshots.archive import Archive
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.health import Health
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.metrics.scrape import MetricsScrape
from skep.supervisor.observers.observers import Observers
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.events import Events
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.fallback import Fallback
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.rollouts import RolloutOwner, Rollouts
from skep.supervisor.sockets.inboxes import Inboxes
from skep.supervisor.sockets.ports import Ports
from skep.supervisor.start import Start


class Owner(RolloutOwner, Protocol):
    """What the parts need of the supervisor."""

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""


class Parts:
    """The processes, sockets, configurations and rollouts of one platform, its state, and the
    observers; `changed` is called when a child has sent something or has ended.

    `was_killed` says that another platform on this data directory has not ended properly.
    """

    def __init__(self, start: Start, owner: Owner, changed: Callable[[], object]) -> None:
        run_dir, options = start.run_dir, start.options
        self.run_id, self.started = uuid.uuid4().hex, time.time()
        self.was_killed = run_dir.pid() is not None
        self.children = Children(Events(), changed)
        self.listeners = start.listeners
        generations = Generations()
        self.inboxes = Inboxes(run_dir.inboxes_dir, start.inboxes)
        self.ports = Ports(
            self.listeners,
            self.inboxes,
            generations,
            self.children,
            lambda: self.platform.crew.release(["agent.0"]),
            patient=self.was_killed,
        )
        self.platform = PlatformSlots(
            self.run_id, start.environment, options, self.children, self.ports.go
        )
        archive = Archive.of(options, run_dir.config_dir)
        self.history = ConfigHistory(archive)
        self.fallback = Fallback(self.history, owner.ask)
        self.configurations = Configurations(
            start.environment, start.flags, options.env_path, run_dir.path, archive
        )
        self.rollouts = Rollouts(
            owner, generations, self.configurations, self.platform, self.ports, self.fallback
        )
        self.health = Health(self.rollouts, self.platform, self.history)
        ledger = Ledger()
        self.scrape = MetricsScrape(
            ledger, self.platform, self.rollouts, self.health, self.configurations
        )
        self.observers = Observers(
            self.children, ledger, lambda: self.rollouts.current, owner.ask, start.service
        )
