"""The parts of a supervisor: what they are made of, and which needs which."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from skep.base.rundir import RunDir
from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.config.snapshots.archive import Archive
from skep.supervisor.config.configuration import Configurations
from skep.supervisor.config.history import ConfigHistory
from skep.supervisor.health import Health
from skep.supervisor.observers.service_manager import ServiceManager
from skep.supervisor.processes.child import Child
from skep.supervisor.processes.children import Children
from skep.supervisor.processes.platform_slots import PlatformSlots
from skep.supervisor.processes.questions import Questions
from skep.supervisor.request import RolloutRequest
from skep.supervisor.rollout.fallback import Fallback
from skep.supervisor.rollout.generations import Generations
from skep.supervisor.rollout.rollouts import RolloutOwner, Rollouts
from skep.supervisor.sockets.listeners import Listeners
from skep.supervisor.sockets.ports import Ports


@dataclass(frozen=True)
class Start:
    """What a platform is started with: the options as far as they are known, the flags, the
    environment, the data directory, and what the process was handed."""

    options: Options
    flags: Mapping[str, Any]
    environment: Mapping[str, str]
    run_dir: RunDir
    listeners: Listeners = field(default_factory=Listeners)
    service: ServiceManager = field(default_factory=lambda: ServiceManager({}))


class Owner(RolloutOwner, Protocol):
    """What the parts need of the supervisor."""

    def ask(self, request: RolloutRequest) -> None:
        """Accept a request for a rollout."""

    def reaped(self, pid: int, status: int) -> None:
        """Take the status of a process that has ended."""

    def ended(self, child: Child) -> None:
        """A child is gone."""

    def failed(self, child: Child) -> None:
        """A platform slot cannot do its work."""


class Parts:
    """The processes, sockets, configurations and rollouts of one platform, and how it stands.

    `was_killed` says that another platform on this data directory has not ended properly.
    """

    def __init__(self, run_id: str, start: Start, owner: Owner) -> None:
        run_dir, options = start.run_dir, start.options
        self.was_killed = run_dir.pid() is not None
        self.telemetry = Telemetry()
        self.questions = Questions(self.telemetry)
        self.children = Children(owner.reaped, owner.ended)
        self.listeners = start.listeners
        generations = Generations()
        self.ports = Ports(
            self.listeners,
            generations,
            lambda: self.platform.crew.release(["agent.0"]),
            patient=self.was_killed,
        )
        self.platform = PlatformSlots(
            run_id,
            start.environment,
            options,
            self.children,
            self.questions,
            owner.told,
            self.ports.go,
            owner.failed,
            self.telemetry,
        )
        archive = Archive.of(options, run_dir.config_dir)
        self.history = ConfigHistory(archive)
        self.fallback = Fallback(self.history, owner.ask)
        self.configurations = Configurations(
            start.environment, start.flags, options.env_path, run_dir.path, archive
        )
        self.rollouts = Rollouts(
            owner,
            generations,
            self.configurations,
            self.platform,
            self.ports,
            self.fallback,
            self.telemetry,
        )
        self.health = Health(self.rollouts, self.platform.crew, self.history)
