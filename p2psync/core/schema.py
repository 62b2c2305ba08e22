"""Typed positional arrays: how operations and messages become canonical values and back.

A *kind* says what one position may hold. A dataclass whose fields are annotated in order with
kinds becomes an array ``[code, field, …]``; a decoded array is checked field by field before any
object is made of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from p2psync.core.codec import Value
from p2psync.errors import OperationError
from p2psync.limits import TEXT_BYTES_MAX

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one value is checked when it comes in and written when it goes out.

    ``load`` raises ``ValueError`` with the cause.
    """

    load: Callable[[Value], T]
    dump: Callable[[T], Value]


def _same(value: Any) -> Any:
    return value


def integer(minimum: int = 0, maximum: int = (1 << 63) - 1) -> Kind[int]:
    """An integer within bounds, both included."""

    def load(value: Value) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise ValueError(f"not an integer from {minimum} to {maximum}")
        return value

    return Kind(load, _same)


def binary(minimum_bytes: int, maximum_bytes: int | None = None) -> Kind[bytes]:
    """Bytes of a length within bounds; of exactly ``minimum_bytes`` when there is no maximum."""
    most = minimum_bytes if maximum_bytes is None else maximum_bytes

    def load(value: Value) -> bytes:
        if type(value) is not bytes or not minimum_bytes <= len(value) <= most:
            raise ValueError(f"not a byte string of {minimum_bytes} to {most} bytes")
        return value

    return Kind(load, _same)


def text(maximum_bytes: int = TEXT_BYTES_MAX) -> Kind[str]:
    """A string of at most so many UTF-8 bytes."""

    def load(value: Value) -> str:
        if type(value) is not str or len(value.encode()) > maximum_bytes:
            raise ValueError(f"not a text of at most {maximum_bytes} bytes")
        return value

    return Kind(load, _same)


def boolean() -> Kind[bool]:
    """True or false."""

    def load(value: Value) -> bool:
        if type(value) is not bool:
            raise ValueError("not true or false")
        return value

    return Kind(load, _same)


def choice(*names: str) -> Kind[str]:
    """One of some words."""

    def load(value: Value) -> str:
        if type(value) is not str or value not in names:
            raise ValueError(f"not one of {', '.join(names)}")
        return value

    return Kind(load, _same)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The kind, or nothing."""

    def load(value: Value) -> T | None:
        return None if value is None else kind.load(value)

    def dump(value: T | None) -> Value:
        return None if value is None else kind.dump(value)

    return Kind(load, dump)


def array(kind: Kind[T], maximum: int) -> Kind[tuple[T, ...]]:
    """A tuple of at most ``maximum`` items of one kind."""
    load_item, dump_item = kind.load, kind.dump

    def load(value: Value) -> tuple[T, ...]:
        if type(value) is not tuple or len(value) > maximum:
            raise ValueError(f"not an array of at most {maximum} items")
        return tuple([load_item(item) for item in value])

    def dump(value: tuple[T, ...]) -> Value:
        return [dump_item(item) for item in value]

    return Kind(load, dump)


def structure(make: Callable[..., T], **fields: Kind[Any]) -> Kind[T]:
    """A fixed array whose items are the named attributes of what ``make`` builds."""
    names = tuple(fields)
    loads = tuple(kind.load for kind in fields.values())
    pairs = tuple((name, kind.dump) for name, kind in fields.items())

    def load(value: Value) -> T:
        if type(value) is not tuple or len(value) != len(loads):
            raise ValueError(f"not an array of {len(loads)} items ({', '.join(names)})")
        items: list[Any] = []
        try:
            for load_item, item in zip(loads, value, strict=True):
                items.append(load_item(item))
        except ValueError as error:
            raise ValueError(f"{names[len(items)]}: {error}") from None
        return make(*items)

    def dump(value: T) -> Value:
        return [dump_item(getattr(value, name)) for name, dump_item in pairs]

    return Kind(load, dump)


class Union:
    """A closed set of structures, told apart by the small integer that comes first."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._kinds: dict[int, Kind[Any]] = {}
        self._codes: dict[type, int] = {}

    def add(self, code: int, cls: type[T], **fields: Kind[Any]) -> None:
        """Register a dataclass under a code; codes are never used again for something else."""
        assert code not in self._kinds and cls not in self._codes
        self._kinds[code] = structure(cls, **fields)
        self._codes[cls] = code

    def dump(self, value: object) -> Value:
        """Return the array ``[code, field, …]``."""
        code = self._codes[type(value)]
        return [code, *self._kinds[code].dump(value)]

    def load(self, value: Value) -> Any:
        """Return the object that an array stands for, or ``None`` for an unknown code.

        Raises ``OperationError`` for an array that is none, or whose fields do not fit.
        """
        if type(value) is not tuple or not value or type(value[0]) is not int or value[0] < 0:
            raise OperationError(cause=f"not a {self._noun}")
        kind = self._kinds.get(value[0])
        if kind is None:
            return None
        try:
            return kind.load(value[1:])
        except ValueError as error:
            raise OperationError(cause=f"{self._noun} {value[0]}: {error}") from None


def runs(indexes: Sequence[int]) -> list[int]:
    """Return ascending integers as ``[gap, length, gap, length, …]``, small when they adjoin."""
    out: list[int] = []
    last = 0
    for index in indexes:
        if out and index == last:
            out[-1] += 1
        else:
            out += [index - last, 1]
        last = index + 1
    return out


def unrun(encoded: Sequence[int], maximum: int) -> list[int]:
    """Return what ``runs`` encoded; raises ``ValueError`` unless it is canonical and bounded."""
    if len(encoded) % 2:
        raise ValueError("half a run")
    out: list[int] = []
    last = 0
    for position in range(0, len(encoded), 2):
        gap, length = encoded[position], encoded[position + 1]
        if length < 1 or gap < 0 or (position and gap == 0) or len(out) + length > maximum:
            raise ValueError("not a canonical run")
        out.extend(range(last + gap, last + gap + length))
        last += gap + length
    return out
