"""Frames in a stream, however it is cut into pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.base.errors import EngineError
from skep.engine.contract import Envelope
from skep.engine.protocol import Put, Splitter, Untake, decode_request, frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_bodies_come_out_whole_however_the_stream_is_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = Splitter()
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert [body for piece in pieces for body in splitter.feed(piece)] == bodies


def test_a_frame_that_announces_too_much_is_refused_before_it_has_come() -> None:
    with pytest.raises(EngineError, match="larger"):
        Splitter(largest=10).feed((11).to_bytes(4, "big"))


def test_a_request_arrives_as_it_was_sent() -> None:
    put = Put(7, (Envelope("id", "name", b"\x00\xff", headers={"a": "ä"}, due=2**53),))
    for request in (put, Untake(8)):
        (body,) = Splitter().feed(frame(request))
        assert frame(decode_request(body)) == frame(request)
