"""The result of one pull, and the snapshot that follows from it. Pure.

Each namespace is judged alone: one whose release is missing, cannot be fetched or must not be
applied keeps the release it has, and the others go on.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from skep.base.errors import ConfigError
from skep.config.env.layers import check_remote
from skep.config.errors import ApolloError, Unusable
from skep.config.snapshots.documents import flattened
from skep.config.snapshots.snapshot import Release, Snapshot

# Returns what a namespace keeps when this error is why it has no usable release; None for nothing.
Keep = Callable[[str, ConfigError], Release | None]


@dataclass(frozen=True)
class Held:
    """A namespace that keeps an older release, and why.

    `kept` is that release, None if there is none. `release_key` is the key of the release that was
    refused, empty if none was fetched.
    """

    namespace: str
    error: ApolloError | Unusable
    kept: Release | None = field(repr=False)
    release_key: str = ""

    @property
    def refused(self) -> bool:
        """Whether a release was fetched and must not be applied."""
        return isinstance(self.error, Unusable)

    @property
    def sentence(self) -> str:
        """One line for people."""
        key = self.kept.release_key if self.kept else ""
        what = f"keeps release {key}" if key else "has no release"
        return f"Namespace {self.namespace} {what}: {self.error}"


@dataclass(frozen=True)
class Assembly:
    """The releases to apply, in the order of the namespaces, and which namespaces are held."""

    releases: tuple[Release, ...]
    held: tuple[Held, ...]
    fetched_at: float

    def snapshot(self) -> Snapshot:
        """Return the snapshot. Raises the error of the first namespace that has no release."""
        for held in self.held:
            if held.kept is None:
                raise held.error
        return Snapshot(self.releases, self.fetched_at)

    @property
    def passing(self) -> ApolloError | None:
        """The first error that may pass by itself, so that asking again soon is worth it."""
        errors = (held.error for held in self.held)
        return next((e for e in errors if isinstance(e, ApolloError) and not e.definite), None)


@dataclass(frozen=True)
class Pulled:
    """For each namespace, in their order, its release as it was published, or why there is none.
    `fetched_at` is in seconds since the epoch."""

    found: Mapping[str, Release | ApolloError]
    fetched_at: float

    def assemble(self, keep: Keep = lambda namespace, error: None) -> Assembly:
        """Judge each release alone, then all together: if they are too large only in sum, refuse
        each namespace that has changed."""
        judged = [_judged(name, found, keep) for name, found in self.found.items()]
        try:
            Snapshot(_kept(judged), 0.0).values()
        except Unusable as error:
            judged = [_reverted(one, error, keep) for one in judged]
        held = tuple(one for one in judged if isinstance(one, Held))
        return Assembly(_kept(judged), held, self.fetched_at)


def usable(release: Release) -> Release:
    """Return a release with its document, if any, turned into keys. Raises Unusable, naming the
    namespace, if it must not be applied."""
    found = flattened(release)
    names = found.values()
    try:
        check_remote(names)
    except Unusable as error:
        raise Unusable(f"Namespace {release.namespace}: {error}", error.reason) from None
    return found


def _judged(name: str, found: Release | ApolloError, keep: Keep) -> Release | Held:
    if isinstance(found, ApolloError):
        return Held(name, found, keep(name, found))
    try:
        return usable(found)
    except Unusable as error:
        return Held(name, error, keep(name, error), found.release_key)


def _kept(judged: Iterable[Release | Held]) -> tuple[Release, ...]:
    found = (one.kept if isinstance(one, Held) else one for one in judged)
    return tuple(release for release in found if release)


def _reverted(one: Release | Held, error: Unusable, keep: Keep) -> Release | Held:
    if isinstance(one, Held):
        return one
    kept = keep(one.namespace, error)
    return one if kept == one else Held(one.namespace, error, kept, one.release_key)
