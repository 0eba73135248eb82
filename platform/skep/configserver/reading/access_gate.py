"""Whether a client may read: by the signature of its request and the app's access keys."""

import logging
import time
from collections.abc import Callable, Sequence

from skep.configserver.model.access_keys import AppKey, KeyMode, SignedRequest, verify
from skep.configserver.model.names import fold
from skep.configserver.model.refusals import SignatureRefused
from skep.configserver.reading.read_cache import ReadCache
from skep.configserver.storage import access

_log = logging.getLogger(__name__)


class AccessGate:
    """Verifies the requests of clients. An app without enabled keys may read unsigned, unless the
    server has keys of its own: those are accepted for every app, and nothing is read unsigned.

    `server_keys` returns the server's own keys, and is asked at every request; `clock` returns the
    seconds since the epoch.
    """

    def __init__(
        self,
        cache: ReadCache,
        server_keys: Callable[[], Sequence[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._server_keys = server_keys
        self._clock = clock
        self.refused = 0

    def check(self, app_id: str, request: SignedRequest) -> None:
        """Raise SignatureRefused, with the reason, unless the app may read by this request."""
        keys = self._cache.get(("keys", fold(app_id)), lambda: self._read_keys(app_id))
        accepted = [key.secret for key in keys if key.enabled and key.mode is KeyMode.FILTER]
        now = round(self._clock() * 1000)
        if not accepted and self._server_keys is None:
            self._observe(app_id, keys, request, now)
            return
        own = self._server_keys() if self._server_keys else ()
        try:
            verify(request, [*accepted, *own], now)
        except SignatureRefused as refusal:
            self.refused += 1
            raise _explained(refusal, app_id, keys, request, now) from None

    def _read_keys(self, app_id: str) -> list[AppKey]:
        return access.keys(self._cache.database.reader, app_id)

    def _observe(
        self, app_id: str, keys: Sequence[AppKey], request: SignedRequest, now: int
    ) -> None:
        """Log a request that the keys under observation would refuse."""
        observed = [key.secret for key in keys if key.enabled]
        if not observed:
            return
        try:
            verify(request, observed, now)
        except SignatureRefused as refusal:
            _log.warning(
                "an access key in observer mode would refuse a request of the app %r (%s)",
                app_id,
                refusal.reason,
            )


def _explained(
    refusal: SignatureRefused,
    app_id: str,
    keys: Sequence[AppKey],
    request: SignedRequest,
    now: int,
) -> SignatureRefused:
    """Return the refusal, or a better one: the key was right once."""
    if refusal.reason != "wrong-signature":
        return refusal
    old = [key.secret for key in keys if not (key.enabled and key.mode is KeyMode.FILTER)]
    try:
        verify(request, old, now)
    except SignatureRefused:
        return refusal
    return SignatureRefused(
        "unknown-key",
        f"The request is signed with an access key of {app_id!r} that is disabled: use an enabled "
        "one.",
    )
