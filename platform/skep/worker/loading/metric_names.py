"""Which names the metrics of plugins may not have: of two families with one name only the
platform's is exposed, and a query finds both where one has the name of another's sample."""

from collections.abc import Collection, Iterator, Mapping

from prometheus_client import REGISTRY

from skep.metrics.names import CATALOGUE, PREFIX, Metric

# The samples that a family has, and those that the client library keeps free beside them.
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "gauge": (),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
}
_OF_SAMPLES = ("_total", "_info", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_created")


def registered() -> frozenset[str]:
    """Return the platform's names among those that are in the client library's registry."""
    return reserved(getattr(REGISTRY, "_names_to_collectors", {}))


def reserved(names: Collection[str]) -> frozenset[str]:
    """Return which of these names are the platform's."""
    return frozenset(name for name in names if name.startswith(PREFIX) or name in _OURS)


def complaints(names: Collection[str]) -> list[str]:
    """Return a sentence for each metric of a plugin, given all the names that it takes."""
    return [_complaint(name) for name in sorted(_shown(names))]


def _complaint(name: str) -> str:
    if name.startswith(PREFIX):
        free = name.removeprefix(PREFIX)
        return (
            f"It makes the metric {name}: names with {PREFIX} are the platform's. Give it another "
            f"name, for example {free}."
        )
    return (
        f"It makes the metric {name}, and the platform exposes one that is called so or has "
        "samples that are. Give it another name, for example with the plugin's in front."
    )


def _shown(names: Collection[str]) -> Iterator[str]:
    """Yield the name of each metric as authors know it: of a counter the one with its suffix."""
    for name in names:
        whole = {f"{name}_total", f"{name}_info"} & set(names)
        base = next((name.removesuffix(s) for s in _OF_SAMPLES if name.endswith(s)), name)
        if not whole and (base == name or base not in names or name.endswith(("_total", "_info"))):
            yield name


def _samples(metric: Metric) -> Iterator[str]:
    for name in filter(None, (metric.exposed, metric.otel)):
        base = name.removesuffix("_total")
        yield from (name, base)
        yield from (base + suffix for suffix in _SUFFIXES[metric.type])


_OURS = frozenset(name for metric in CATALOGUE for name in _samples(metric))
