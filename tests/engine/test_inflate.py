"""Decompression with a limit."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptops.engine.inflate import STEP_BYTES, InflateError, Inflater


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "Deflate ": raw_deflate}


@pytest.mark.parametrize("encoding", PACKERS)
@given(data=st.binary(max_size=2000), size=st.integers(1, 300))
def test_what_was_packed_comes_out_wherever_it_is_cut(encoding: str, data: bytes, size: int) -> None:
    packed = PACKERS[encoding](data)
    inflater = Inflater(encoding)
    pieces = [piece for at in range(0, len(packed), size) for piece in inflater.feed(packed[at : at + size])]
    assert b"".join(pieces) == data


def test_a_bomb_comes_in_bounded_pieces_and_takes_no_memory_before_it_is_counted() -> None:
    bomb = gzip.compress(b"0" * 250_000_000, 9)
    tracemalloc.start()
    size = 0
    for piece in Inflater("gzip").feed(bomb):
        assert len(piece) <= STEP_BYTES
        size += len(piece)
        if size > 4_000_000:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 4_000_000
    assert peak < 4 * len(bomb)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip,deflate", ""])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(InflateError, match="was not asked for"):
        Inflater(encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_compressed_is_refused(encoding: str) -> None:
    with pytest.raises(InflateError):
        list(Inflater(encoding).feed(b"\xff\xff plain text"))


def test_a_body_that_breaks_off_gives_what_came() -> None:
    """The reader of the body decides whether it is complete: an event stream may end without its checksum."""
    packed = gzip.compress(b"a whole answer " * 100)
    assert b"".join(Inflater("gzip").feed(packed[:-8])) == b"a whole answer " * 100
