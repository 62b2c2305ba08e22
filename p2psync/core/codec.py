"""Canonical msgpack: one value has exactly one encoding; the only importer of msgpack.

Values are ``None``, ``bool``, ``int`` (signed 64 bit), ``bytes``, ``str`` and tuples of these.
Maps, floats and extensions do not exist here. Specification: docs/spec/entry.md, "Encoding".
"""

from collections.abc import Sequence
from typing import Any

import msgpack

from p2psync.errors import CodecError
from p2psync.limits import NESTING_DEPTH_MAX

Value = Any
"""``None | bool | int | bytes | str | tuple[Value, ...]``; checked by ``unpack``, not by types."""

_SCALARS = frozenset({bytes, int, str, bool, type(None)})
_BYTES_ONLY = {bytes}
_INTEGER_MAX = (1 << 63) - 1
_pack = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def pack(value: Value) -> bytes:
    """Encode a value; lists are written as tuples.

    Raises ``CodecError`` for what has no encoding.
    """
    try:
        packed: bytes = _pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(cause=str(error)) from None
    return packed


def join(items: Sequence[bytes]) -> bytes:
    """Return the encoding of an array whose items are encoded already."""
    count = len(items)
    if count < 16:
        head = bytes([0x90 | count])
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(items)


def unpack(data: bytes, limit_bytes: int, *, typed: bool = False) -> Value:
    """Decode exactly one canonical value of at most ``limit_bytes`` bytes.

    With ``typed`` the caller looks at the type and bounds of every item itself, or calls ``check``.
    Raises ``CodecError`` for anything else: trailing or missing bytes, maps, floats, extensions,
    nesting deeper than ``NESTING_DEPTH_MAX``, and every encoding but the shortest.
    """
    if len(data) > limit_bytes:
        raise CodecError(cause=f"{len(data)} bytes; at most {limit_bytes}")
    try:
        value = msgpack.unpackb(
            data,
            use_list=False,
            raw=False,
            object_pairs_hook=_refuse_map,
            ext_hook=_refuse_extension,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=len(data),
            max_map_len=0,
            max_ext_len=0,
        )
    except CodecError:
        raise
    except Exception as error:  # msgpack raises a dozen classes for malformed input
        raise CodecError(cause=str(error) or type(error).__name__) from None
    if not typed:
        check(value)
    if pack(value) != data:
        raise CodecError(cause="not the canonical form")
    return value


def check(value: Value) -> None:
    """Raise ``CodecError`` unless all of a decoded value is what values may be."""
    _check(value, 0)


def _check(value: Value, depth: int) -> None:
    if type(value) is not tuple:
        value = (value,)
    elif depth >= NESTING_DEPTH_MAX:
        raise CodecError(cause="nested too deeply")
    elif len(value) > 8 and set(map(type, value)) == _BYTES_ONLY:
        return
    for item in value:
        kind = type(item)
        if kind is bytes:
            continue
        if kind is tuple:
            if item:
                _check(item, depth + 1)
            elif depth + 1 >= NESTING_DEPTH_MAX:
                raise CodecError(cause="nested too deeply")
        elif kind is int:
            if item > _INTEGER_MAX:
                raise CodecError(cause="an integer beyond 63 bits")
        elif kind not in _SCALARS:
            raise CodecError(cause=f"{kind.__name__} is not allowed")


def _refuse_map(_pairs: object) -> Value:
    raise CodecError(cause="maps are not allowed")


def _refuse_extension(_code: int, _data: bytes) -> Value:
    raise CodecError(cause="extensions are not allowed")
