"""Named fields of a record, read from its bytes when somebody asks for them."""

from collections.abc import Callable, Iterator, Mapping

ReadFields = Callable[[bytes], Mapping[str, str]]


class LineFields(Mapping[str, str]):
    """A view of a line's bytes: a hundred thousand records would otherwise hold a million texts.

    ``read`` gives the fields of a line, and remembers the last ones it gave.
    """

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: bytes, read: ReadFields) -> None:
        self._raw = raw
        self._read = read

    def __getitem__(self, name: str) -> str:
        return self._read(self._raw)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read(self._raw))

    def __len__(self) -> int:
        return len(self._read(self._raw))

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return repr(dict(self))


def quoted_fields(line: bytes, delimiter: bytes, quote: bytes) -> list[bytes]:
    """Splits a line (without its end) at delimiters outside quotes, which are taken off.

    A quote inside a quoted field is written twice (RFC 4180). What follows a closing quote, up to
    the delimiter, belongs to the field; a quote that is never closed encloses the rest.
    """
    if quote not in line:
        return line.split(delimiter)
    fields: list[bytes] = []
    parts: list[bytes] | None = None
    for piece in line.split(delimiter):
        if parts is not None:
            parts.append(piece)
        elif piece.startswith(quote):
            parts = [piece]
        else:
            fields.append(piece)
            continue
        if piece.count(quote) & 1 == (len(parts) > 1):
            fields.append(_unquoted(delimiter.join(parts), quote))
            parts = None
    if parts is not None:
        fields.append(_unquoted(delimiter.join(parts), quote))
    return fields


def _unquoted(field: bytes, quote: bytes) -> bytes:
    body = field[len(quote) :]
    end = len(body) - len(quote)
    inner, rest = (body[:end], b"") if body.endswith(quote) else (body, b"")
    return inner.replace(quote * 2, quote) + rest
