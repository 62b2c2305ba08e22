"""Puts the certificates of a time stamp into the order that strict readers of DER insist on.

RFC 5652 has them as a set. OpenSSL writes them as they come, DER wants them ascending, and
rfc3161-client reads nothing else. Which order they have is signed by nobody, and means nothing.
"""

from itertools import pairwise

_SEQUENCE, _CONTEXT_0 = 0x30, 0xA0
_Place = tuple[int, int, int]
"""A tag, and where its content begins and ends."""
_ELEMENTS_MAX = 1_000


def sort_certificates(response: bytes) -> bytes:
    """Return a TimeStampResp with its certificates ascending; anything else as it is."""
    try:
        answer = _element(response, 0, len(response))
        token = _children(response, answer)[1]
        signed = _children(response, _children(response, token)[1])[0]
        if (answer[0], token[0], signed[0]) != (_SEQUENCE,) * 3:
            return response
        [place] = [each for each in _children(response, signed) if each[0] == _CONTEXT_0]
        starts = [place[1], *(end for _, _, end in _children(response, place))]
    except (IndexError, ValueError):
        return response
    elements = [response[one:other] for one, other in pairwise(starts)]
    return response[: place[1]] + b"".join(sorted(elements)) + response[place[2] :]


def _element(data: bytes, start: int, end: int) -> _Place:
    """The element that begins at a place; raises ``ValueError`` or ``IndexError`` for none."""
    length = data[start + 1]
    begin = start + 2
    if length >= 0x80:
        digits = length & 0x7F
        if not 0 < digits <= 4:
            raise ValueError("an indefinite length, or too long")
        length = int.from_bytes(data[begin : begin + digits], "big")
        begin += digits
    if begin + length > end:
        raise ValueError("longer than what it stands in")
    return data[start], begin, begin + length


def _children(data: bytes, parent: _Place) -> list[_Place]:
    """The elements that another one holds."""
    found: list[_Place] = []
    at = parent[1]
    while at < parent[2]:
        if len(found) >= _ELEMENTS_MAX:
            raise ValueError("too many elements")
        found.append(_element(data, at, parent[2]))
        at = found[-1][2]
    return found
