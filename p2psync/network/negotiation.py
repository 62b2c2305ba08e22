"""multistream-select 1.0: two sides agree on a protocol by its name.

Source: https://github.com/multiformats/multistream-select. A message is a varint length and a
line that ends with a newline. Ours is bounded: a line of at most
``limits.NEGOTIATION_LINE_BYTES_MAX`` bytes, at most ``limits.NEGOTIATION_PROPOSALS_MAX`` proposals.
"""

from collections.abc import Collection
from typing import Protocol

from p2psync import limits
from p2psync.engine.ports import LinkBroken

_HEADER = "/multistream/1.0.0"
_REFUSAL = "na"


class Duplex(Protocol):
    """What can be negotiated on."""

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""

    async def write(self, data: bytes) -> None:
        """All of ``data``."""


class NotSpoken(LinkBroken):
    """The peer does not speak the protocol that was proposed."""


async def propose(duplex: Duplex, protocol: str) -> None:
    """Agree on ``protocol`` as the side that opened; header and proposal go out together.

    Raises ``NotSpoken`` or ``LinkBroken``.
    """
    await duplex.write(encode_line(_HEADER) + encode_line(protocol))
    if await _read_line(duplex) != _HEADER:
        raise LinkBroken("the peer does not speak multistream-select")
    answer = await _read_line(duplex)
    if answer == _REFUSAL:
        raise NotSpoken(f"the peer does not speak {protocol}")
    if answer != protocol:
        raise LinkBroken("the peer broke the negotiation")


async def answer(duplex: Duplex, spoken: Collection[str]) -> str:
    """Answer proposals until one is ``spoken``; anything else is refused.

    Raises ``LinkBroken`` when the peer breaks the form or proposes too often.
    """
    if await _read_line(duplex) != _HEADER:
        raise LinkBroken("the peer does not speak multistream-select")
    await duplex.write(encode_line(_HEADER))
    for _ in range(limits.NEGOTIATION_PROPOSALS_MAX):
        proposal = await _read_line(duplex)
        if proposal in spoken:
            await duplex.write(encode_line(proposal))
            return proposal
        await duplex.write(encode_line(_REFUSAL))
    raise LinkBroken("the peer proposed too many protocols")


def encode_line(text: str) -> bytes:
    """One message: varint of the length, text, newline."""
    line = text.encode() + b"\n"
    if len(line) > limits.NEGOTIATION_LINE_BYTES_MAX:
        raise ValueError("a protocol name is too long")
    return varint(len(line)) + line


def varint(number: int) -> bytes:
    """Unsigned LEB128, as libp2p frames its messages."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


async def _read_line(duplex: Duplex) -> str:
    length = 0
    for shift in (0, 7):
        (byte,) = await duplex.read_exactly(1)
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise LinkBroken("the peer's negotiation line is too long")
    if not 0 < length <= limits.NEGOTIATION_LINE_BYTES_MAX:
        raise LinkBroken("the peer's negotiation line is too long or empty")
    line = await duplex.read_exactly(length)
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise LinkBroken("the peer's negotiation line is no text") from None
    if not text.endswith("\n"):
        raise LinkBroken("the peer's negotiation line has no end")
    return text[:-1]
