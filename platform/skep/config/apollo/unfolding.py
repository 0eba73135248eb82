"""Decompress an HTTP answer in small pieces.

A few kilobytes may unfold to gigabytes. So only one coding is accepted, the whole is bounded, and
the caller may pause after each piece.
"""

import zlib
from collections.abc import Iterator

# The Accept-Encoding of our requests.
ACCEPTED = "gzip"
# Bytes; no configuration is larger.
_LARGEST = 32 * 1024 * 1024
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_PIECE = 256 * 1024
# zlib's own word for: a gzip or a zlib header in front, whichever it is.
_ANY_HEADER = 32 + zlib.MAX_WBITS


class Folded(Exception):
    """The body cannot be unfolded; the text says why, as a part of a sentence."""


class Unfolding:
    """Undoes the content coding of one body; `coding` is the value of its header.

    Raises Folded for a coding that is unknown and for more than one. `largest` bounds what the body
    may unfold to, in bytes.
    """

    def __init__(self, coding: str, largest: int = _LARGEST) -> None:
        name = coding.strip().lower()
        if name not in ("", "identity", *_CODINGS):
            raise Folded(f"its Content-Encoding is {coding!r:.100}; only gzip is accepted")
        self._inflater = zlib.decompressobj(_ANY_HEADER) if name in _CODINGS else None
        self._largest, self._size = largest, 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Return what a chunk unfolds to, in pieces of at most 256 KiB. Raises Folded."""
        if self._inflater is None:
            yield self._counted(chunk)
            return
        while chunk and not self._inflater.eof:
            try:
                yield self._counted(self._inflater.decompress(chunk, _PIECE))
            except zlib.error as error:
                raise Folded(f"it is garbled ({error})") from error
            chunk = self._inflater.unconsumed_tail

    def _counted(self, piece: bytes) -> bytes:
        self._size += len(piece)
        if self._size > self._largest:
            raise Folded(f"it is over {self._largest} bytes")
        return piece

    def end(self) -> None:
        """Note that the body has ended. Raises Folded if a part of it is missing."""
        if self._inflater is not None and not self._inflater.eof:
            raise Folded("it is cut off")
