"""A fuzzer's bytes read as decisions, and values of the codec made and changed by them."""

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_LENGTHS = (0, 1, 8, 16, 24, 31, 32, 33, 64, 65, 80, 200)


class Feed:
    """Bytes that are taken from the front; when they are used up, everything is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes are still to be taken."""
        return max(0, len(self._data) - self._at)

    def take(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def number(self, below: int) -> int:
        """A number from 0, made of as few bytes as it needs."""
        if below <= 1:
            return 0
        size = ((below - 1).bit_length() + 7) // 8
        return int.from_bytes(self.take(size), "big") % below

    def chance(self) -> bool:
        """True or false."""
        return bool(self.number(2))

    def pick(self, items: Sequence[T]) -> T:
        """One of some items."""
        return items[self.number(len(items))]

    def chunk(self) -> bytes:
        """Bytes with their length, up to 255, before them."""
        return self.take(self.number(256))

    def text(self) -> str:
        """Text of any characters, half ones too."""
        return self.chunk().decode("utf-8", "surrogateescape")


def value_of(feed: Feed, depth: int = 0) -> Any:
    """A value of the codec, or nearly one."""
    match feed.number(11):
        case 0:
            return feed.number(256)
        case 1:
            return feed.chunk()
        case 2:
            return bytes([feed.number(256)]) * feed.pick(_LENGTHS)
        case 3:
            return feed.chunk().decode("utf-8", "replace")
        case 4:
            return None
        case 5:
            return feed.chance()
        case 6:
            return int.from_bytes(feed.take(8), "big", signed=True)
        case 7:
            return 1 << feed.number(63)
        case 8:
            return feed.chunk().decode("latin-1")
        case _ if depth > 20:
            return ()
        case _:
            return tuple(value_of(feed, depth + 1) for _ in range(feed.number(6)))


def changed(feed: Feed, value: Any) -> Any:
    """The value with one node replaced, repeated, left out, or something put in."""
    if isinstance(value, tuple | list) and value and feed.number(4):
        place = feed.number(len(value))
        before, item, after = value[:place], value[place], value[place + 1 :]
        match feed.number(6):
            case 0:
                return (*before, *after)
            case 1:
                return (*before, item, item, *after)
            case 2:
                return (*before, value_of(feed), item, *after)
            case _:
                return (*before, changed(feed, item), *after)
    if isinstance(value, bytes) and feed.chance():
        place = feed.number(len(value) + 1)
        return value[:place] + feed.chunk() + value[place + feed.number(4) :]
    if isinstance(value, int) and feed.chance():
        return value + feed.number(5) - 2
    return value_of(feed)


def varied(feed: Feed, value: Any, most: int = 4) -> Any:
    """The value with up to ``most`` changes."""
    for _ in range(feed.number(most + 1)):
        value = changed(feed, value)
    return value
