"""One content coding, undone in pieces."""

import gzip
import zlib

import pytest

from skep.config.apollo.server import BadEncoding, Decompressor

TEXT = b'{"a": "1"}' * 1000


def unfolded(coding: str, *chunks: bytes) -> bytes:
    decompressor = Decompressor(coding)
    found = b"".join(piece for chunk in chunks for piece in decompressor.pieces(chunk))
    decompressor.end()
    return found


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        (" X-GZIP ", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "deflate"],
)
def test_a_body_is_the_same_however_it_is_cut_into_chunks(coding: str, body: bytes) -> None:
    assert unfolded(coding, body) == TEXT
    assert unfolded(coding, *(body[i : i + 7] for i in range(0, len(body), 7))) == TEXT


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip,gzip", "br", "zstd", "gzip, identity"])
def test_more_than_one_coding_and_one_that_was_not_asked_for_are_refused(coding: str) -> None:
    with pytest.raises(BadEncoding, match=coding):
        Decompressor(coding)


def test_no_piece_is_large_however_far_a_chunk_unfolds() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024), compresslevel=9)
    pieces = Decompressor("gzip").pieces(bomb)
    assert max(len(next(pieces)) for _ in range(20)) <= 256 * 1024


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_the_whole_is_bounded_however_it_comes(coding: str) -> None:
    body = gzip.compress(TEXT) if coding else TEXT
    decompressor = Decompressor(coding, largest=len(TEXT))
    assert b"".join(decompressor.pieces(body)) == TEXT
    with pytest.raises(BadEncoding, match="over 9999 bytes"):
        list(Decompressor(coding, largest=9999).pieces(body))


@pytest.mark.parametrize(
    "body", [gzip.compress(TEXT)[:-9], b"", b"plain text"], ids=["cut", "empty", "plain"]
)
def test_what_is_cut_off_or_garbled_is_refused(body: bytes) -> None:
    with pytest.raises(BadEncoding):
        unfolded("gzip", body)
