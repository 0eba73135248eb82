"""Where OpenTelemetry comes into a worker. Without PLATFORM_TRACING nothing of it is imported."""

from typing import TYPE_CHECKING

from skep.base.telemetry import Telemetry
from skep.config.options.table import Options
from skep.wire.plan import Problem

if TYPE_CHECKING:
    from skep.tracing.worker_spans import WorkerSpans

_MISSING = (
    "PLATFORM_TRACING is {tracing}, but OpenTelemetry cannot be imported ({error}): "
    "pip install 'skep[otel]'."
)


def problems(options: Options) -> list[Problem]:
    """Import what the workers need, so that they share its memory; return why that fails."""
    if options.tracing == "off":
        return []
    try:
        import skep.tracing.worker_spans  # noqa: F401
    except ImportError as error:
        return [Problem("load", _MISSING.format(tracing=options.tracing, error=error))]
    return []


def spans(options: Options, instance: str, slot: str, telemetry: Telemetry) -> "WorkerSpans | None":
    """Return the spans of the worker in this slot, if they are wanted; `instance` names it."""
    if options.tracing == "off":
        return None
    from skep.tracing.provider import Provider
    from skep.tracing.worker_spans import WorkerSpans

    return WorkerSpans(Provider(options.app_id, instance, slot), telemetry)
