"""The queue of pieces: all bytes, in order, and no small piece that keeps a large buffer."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from p2psync.network.pieces import Piece, Pieces

BUFFER = bytes(range(256)) * 256

pieces = st.tuples(st.integers(0, 60_000), st.integers(0, 65_536), st.booleans())


@given(st.lists(st.one_of(pieces, st.integers(0, 100_000)), max_size=40))
def test_it_is_a_queue_of_bytes(steps: list[tuple[int, int, bool] | int]) -> None:
    queue, model = Pieces(), b""
    for step in steps:
        if isinstance(step, int):
            sink: list[Piece] = []
            moved = queue.move(step, sink)
            assert b"".join(sink) == model[:step]
            assert moved == len(model[:step])
            model = model[step:]
        else:
            start, size, view = step
            piece = memoryview(BUFFER)[start : start + size]
            queue.add(piece if view else bytes(piece))
            model += piece
        assert len(queue) == len(model)
    assert queue.take(len(model)) == model
    assert not queue


@given(st.integers(1, 60_000))
def test_what_is_kept_is_not_much_more_than_the_bytes(size: int) -> None:
    """A peer chooses how its bytes are cut and packed."""
    queue = Pieces()
    for _ in range(max(1, 500_000 // size)):
        queue.add(memoryview(BUFFER)[:size])
    held = 0
    for piece in queue._pieces:
        held += len(BUFFER) if isinstance(piece, memoryview) else sys.getsizeof(piece)
    assert held <= 2.5 * len(queue) + 4096
