"""All observers of the supervisor, subscribed to its events."""

from collections.abc import Callable

from skep.supervisor.generation import Generation
from skep.supervisor.metrics.ledger import Ledger
from skep.supervisor.observers.certificates import Certificates
from skep.supervisor.observers.hooks import HookCalls
from skep.supervisor.observers.log_and_count import LogAndCount
from skep.supervisor.observers.platform_events import PlatformEvents
from skep.supervisor.observers.service_manager import ServiceManager
from skep.supervisor.processes.children import Children
from skep.supervisor.request import RolloutRequest


class Observers:
    """`current()` is the generation in service, `ask` takes requests for a rollout."""

    def __init__(
        self,
        children: Children,
        ledger: Ledger,
        current: Callable[[], Generation | None],
        ask: Callable[[RolloutRequest], None],
        service: ServiceManager,
    ) -> None:
        self.service = service
        LogAndCount(ledger, children.events)
        service.subscribe(children.events)
        PlatformEvents(current, children)
        Certificates(children.events, current, ask)
        self.hooks = HookCalls(current, children)
