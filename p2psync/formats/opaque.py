"""The format of every file that p2psync does not understand (B-ATT-5)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from p2psync.core.records import Document, Segment
from p2psync.formats.base import Format, Merge, whole_document, whole_segment


@dataclass(frozen=True, slots=True)
class OpaqueFormat:
    """Takes any bytes as one piece; versions are kept whole."""

    name: str = "opaque"
    title: str = "Other file"
    suffixes: tuple[str, ...] = ()
    merge: Merge = "whole"

    def recognise(self, name: str, head: bytes) -> bool:
        """Takes everything."""
        return True

    def parse(self, data: bytes) -> Document:
        """Gives one segment without records, none for an empty file."""
        return whole_document(self.name, data)

    def read_segment(self, raw: bytes) -> Segment:
        """Gives the segment of a whole file."""
        return whole_segment(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields nothing: the file is kept whole."""
        return iter(())


OPAQUE: Format = OpaqueFormat()
