"""Events like any other that the platform itself fires.

    class OnConfigChanged(Listener[ConfigChanged]):
        async def handle(self, event, ctx):
            ctx.log.info("changed: %s", ", ".join(event.changed))

Each is fired once per occurrence; nothing is fired for what happens while the platform stops.
"""

from skep.api.tasks.event import Event


class ConfigChanged(Event, name="platform.ConfigChanged"):
    """Another configuration is in force.

    `changed` are the keys whose value is another, `release_keys` the releases now in force by
    namespace, `generation` the one that serves with them. `live` says that its workers have taken
    the change as they were; otherwise the generation is new.
    """

    changed: list[str]
    release_keys: dict[str, str]
    generation: int
    live: bool


class GenerationCommitted(Event, name="platform.GenerationCommitted"):
    """A generation is in service. `cause` is what it was rolled out for: start, config, code,
    certificate, signal, reload or rollback."""

    generation: int
    cause: str


class WorkerExited(Event, name="platform.WorkerExited"):
    """A worker, or a process of the platform itself (`generation` 0), has ended unasked.

    Either `exit_code` is its status or `signal` the name of what killed it; neither is known of one
    whose zygote died with it.
    """

    slot: str
    generation: int
    pid: int
    exit_code: int | None
    signal: str


PLATFORM_EVENTS: dict[str, type[Event]] = {
    cls.__name__: cls for cls in (ConfigChanged, GenerationCommitted, WorkerExited)
}
