"""What a platform is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skep.base.rundir import RunDir
from skep.config.options.table import Options
from skep.supervisor.observers.service_manager import ServiceManager
from skep.supervisor.sockets.inheritance import Inherited
from skep.supervisor.sockets.listeners import Listeners


@dataclass(frozen=True)
class Start:
    """What a platform is started with: the options as far as they are known, the flags, the
    environment, the data directory, and what the process was handed: listeners and inboxes."""

    options: Options
    flags: Mapping[str, Any]
    environment: Mapping[str, str]
    run_dir: RunDir
    listeners: Listeners = field(default_factory=Listeners)
    service: ServiceManager = field(default_factory=lambda: ServiceManager({}))
    inboxes: Mapping[str, Inherited] = field(default_factory=dict)
