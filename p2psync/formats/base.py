"""What an exchange file's format offers to the rest, and the parts that formats share."""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.values import digest
from p2psync.limits import FILE_PROBLEMS_MAX, STREAMED_LINE_BYTES_MAX

Merge = Literal["records", "whole"]


class Format(Protocol):
    """Reads one kind of file; pure and total: no method raises, whatever the bytes.

    ``merge`` says whether two versions are merged segment by segment (``"records"``) or kept beside
    each other (``"whole"``).
    """

    @property
    def name(self) -> str:
        """Stable; travels between devices."""
        ...

    @property
    def title(self) -> str:
        """For people, in English."""
        ...

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Lower case, with their dot."""
        ...

    @property
    def merge(self) -> Merge:
        """Segment by segment, or whole."""
        ...

    def recognise(self, name: str, head: bytes) -> bool:
        """Says whether a file called ``name`` that starts with ``head`` (up to 64 KiB) is one."""
        ...

    def parse(self, data: bytes) -> Document:
        """Reads a whole file; the raw bytes of its segments, joined, are ``data`` again."""
        ...

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one segment on its own: what ``parse`` gave for these bytes, but for line numbers.

        Two segments with one ``key`` are the same element of the file, even when their raw bytes
        differ (renumbered lines, a header with a new time).
        """
        ...

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields the segments that ``parse`` gives for the joined blocks, however they are cut.

        Holds a bounded part of the file at a time, so it also reads what is too large for
        ``parse``. A format that keeps every file whole yields nothing; what a file comes out as
        that ``parse`` keeps whole because of what is in it is up to the format. A generator may
        return, as its value, what ``parse`` says of the whole file: a document without segments.
        """
        ...


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Says whether ``name`` ends with one of the lower-case ``suffixes``, in any case."""
    return name.lower().endswith(suffixes)


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the lines of the joined blocks, each with its LF, the last perhaps without one.

    A line of more than ``STREAMED_LINE_BYTES_MAX`` comes in pieces of that size.
    """
    held: list[bytes] = []
    held_bytes = 0
    for block in blocks:
        first, *others = block.split(b"\n")
        if others:
            held.append(first + b"\n")
            yield b"".join(held)
            last = others.pop()
            for line in others:
                yield line + b"\n"
            held, held_bytes = [], 0
        else:
            last = first
        if last:
            held.append(last)
            held_bytes += len(last)
        if held_bytes > STREAMED_LINE_BYTES_MAX:
            joined = b"".join(held)
            cut = held_bytes - held_bytes % STREAMED_LINE_BYTES_MAX
            for start in range(0, cut, STREAMED_LINE_BYTES_MAX):
                yield joined[start : start + STREAMED_LINE_BYTES_MAX]
            held, held_bytes = [joined[cut:]], held_bytes - cut
    if held_bytes:
        yield b"".join(held)


def whole_segment(raw: bytes, problem: Problem | None = None) -> Segment:
    """Gives a segment without records that is identified by its very bytes."""
    key = digest(b"p2psync-opaque", raw)
    return Segment(raw, key, key, (), problem)


def whole_document(format_name: str, data: bytes, problems: tuple[Problem, ...] = ()) -> Document:
    """Gives a document of one segment that is never merged; no segment when it is empty."""
    segments = (whole_segment(data),) if data else ()
    return Document(format_name, segments, mergeable=False, problems=problems)


def bounded(problems: list[Problem], unlisted: int = 0) -> tuple[Problem, ...]:
    """Keeps the first ``FILE_PROBLEMS_MAX`` problems and says how many more there are.

    ``unlisted`` are further ones that were counted only; then there must be more than the limit.
    """
    more = len(problems) - FILE_PROBLEMS_MAX + unlisted
    if more <= 0:
        return tuple(problems)
    rest = Problem("more-problems", "{count} more problems are not listed", 0, {"count": str(more)})
    return (*problems[:FILE_PROBLEMS_MAX], rest)
