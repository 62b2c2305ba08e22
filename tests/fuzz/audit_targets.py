"""Target for audit files: any bytes, any frames, a good file varied; with the digests put right."""

import io
from collections.abc import Iterable
from functools import cache

from p2psync.audit.frames import frames
from p2psync.audit.verify import Wanted, verify_stream
from p2psync.core import audit
from p2psync.core.audit import Kind
from p2psync.errors import AuditFileError
from tests.audit.book import SMALL, Part, resealed, small_book
from tests.core.lines import read
from tests.fuzz.feed import Feed
from tests.fuzz.target import Target


@cache
def _parts() -> tuple[Part, ...]:
    data = small_book().export()
    return tuple((frame.kind, frame.body) for frame in frames(io.BytesIO(data)))


def _file(feed: Feed) -> bytes:
    """A file: any bytes, frames of any content, or a good one with some frames changed."""
    match feed.number(4):
        case 0:
            return feed.rest()
        case 1:
            return audit.MAGIC + feed.rest()
        case 2:
            some = [(feed.pick(tuple(Kind)), feed.chunk()) for _ in range(feed.number(12))]
        case _:
            some = list(_parts())
            for _ in range(1 + feed.number(4)):
                at = feed.number(len(some))
                kind, body = some[at]
                place = feed.number(len(body) + 1)
                body = body[:place] + feed.chunk() + body[place + feed.number(40) :]
                some[at] = (feed.pick(tuple(Kind)) if feed.chance() else kind, body)
    try:
        return resealed(some)
    except AuditFileError:
        return audit.MAGIC + feed.rest()


def run_audit(data: bytes) -> None:
    """Both verifiers look at a file; neither fails, and both say the same."""
    file = _file(Feed(data))
    found = verify_stream(io.BytesIO(file), Wanted(), reader=read, records=True)
    for each in (*found.check.problems, *found.requests, *found.check.notes, *found.unproven):
        each.text.encode()
    if found.sound:
        assert found.proven and found.check.manifest is not None
        # Nobody but a member's device can have signed it: it is the file that was made.
        assert file == resealed(_parts())
    verifier = SMALL.Verifier()
    try:
        for frame in SMALL.frames_of(io.BytesIO(file)):
            verifier.take(*frame)
        sound = not verifier.wrong
    except SMALL.Broken:
        sound = False
    assert sound == found.sound


def _seeds() -> Iterable[bytes]:
    whole = resealed(_parts())
    yield b"\0" + whole
    yield b"\1" + whole[len(audit.MAGIC) :]
    for number in range(len(_parts())):
        yield bytes([3, 0, number, 9, 1, 65, 0, 0])
    yield b"\2\3\0\1A\1\1B"


TARGETS = (
    Target(
        "audit",
        "both verifiers read any file in bounded memory, raise nothing, and agree",
        run_audit,
        _seeds,
        bytes_max=8192,
        short_runs=500,
    ),
)
