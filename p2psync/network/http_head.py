"""The head of an HTTP/1.1 message, read from a channel without a byte of what follows it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.bytestream import Channel

_END = b"\r\n\r\n"
_STATUS = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: (.*))?")


class HeadRefused(LinkBroken):
    """What came is no head of HTTP, or too long a one."""


async def read_head(channel: Channel) -> bytes:
    """A head with its empty line, at most ``limits.HTTP_HEAD_BYTES_MAX`` bytes.

    Raises ``HeadRefused`` as soon as it cannot become one, and ``LinkBroken``.
    """
    # Who sends head after head without a pause must not keep everybody else waiting.
    await trio.lowlevel.checkpoint()
    head = bytearray()
    # Byte by byte: what follows is no HTTP and is read by others.
    with memoryview(bytearray(1)) as byte:
        while not head.endswith(_END):
            count = channel.receive_now(byte)
            if count is None:
                await channel.readable()
                continue
            if not count:
                raise LinkBroken("the peer closed the connection")
            head += byte
            if len(head) == 1 and not 0x41 <= head[0] <= 0x5A:
                raise HeadRefused("what came is no HTTP")
            if len(head) > limits.HTTP_HEAD_BYTES_MAX:
                raise HeadRefused("the HTTP head is too long")
    return bytes(head)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the headers behind it, by lower-case name; equal ones joined by commas."""

    status: int
    reason: str
    headers: Mapping[str, str]


def read_answer(head: bytes) -> Answer:
    """Read the head of an answer; raises ``HeadRefused``."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise HeadRefused("what came is no HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HeadRefused("an HTTP header is none")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Answer(int(status[1]), _printable(status[2] or ""), headers)


def _printable(text: str) -> str:
    return "".join(each for each in text if each.isprintable())[:60].strip()
