"""A queue of bytes that come and go in pieces, copied as little as memory safety allows."""

from collections import deque

_SMALL_BYTES = 8 * 1024
_MERGED_BYTES = 64 * 1024
_VIEW_BYTES_MIN = 32 * 1024

Piece = bytes | bytearray | memoryview


class Pieces:
    """Bytes in order.

    Large pieces are kept as they are. Small ones are put together, and a small part of somebody
    else's buffer is copied out of it: otherwise a peer that sends its bytes one by one could make
    each of them hold a whole buffer, or cost a whole object.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, piece: Piece) -> None:
        """Append a piece; a view must be of a buffer of at most 64 KiB that nobody changes."""
        size = len(piece)
        self._size += size
        if size >= _SMALL_BYTES:
            if size < _VIEW_BYTES_MIN and isinstance(piece, memoryview):
                piece = bytes(piece)
            self._pieces.append(piece)
            return
        tail = self._pieces[-1] if self._pieces else None
        if isinstance(tail, bytearray) and len(tail) < _MERGED_BYTES:
            tail += piece
        elif size:
            self._pieces.append(bytearray(piece))

    def move(self, count: int, sink: list[Piece]) -> int:
        """Move the first ``count`` bytes, or all there are, to ``sink``; returns how many."""
        moved = count = min(count, self._size)
        self._size -= count
        pieces = self._pieces
        while count:
            head = pieces[0]
            size = len(head)
            if size <= count:
                sink.append(pieces.popleft())
                count -= size
                continue
            if isinstance(head, bytearray):
                sink.append(head[:count])
                del head[:count]
            else:
                view = memoryview(head)
                sink.append(view[:count])
                pieces[0] = view[count:]
            break
        return moved

    def take(self, count: int) -> bytes:
        """Up to ``count`` bytes in one."""
        sink: list[Piece] = []
        self.move(count, sink)
        return b"".join(sink)

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self._size = 0
