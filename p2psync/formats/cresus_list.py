"""The Crésus list of exchange files: ``.ecc``, beside the accounting file that reads them.

Lines of Windows-1252: ``#FSC⇥9.3⇥ECC``, then ``#ECF⇥1; dd/MM/yyyy HH:mm:ss; name; uid`` for
invoicing or ``#ECS⇥…`` for payroll, perhaps ``#BACKUP…``, then ``#END``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from p2psync.core.records import Document, Segment
from p2psync.formats.base import Format, Merge, has_suffix, whole_document, whole_segment
from p2psync.formats.cresus_header import kind_of
from p2psync.formats.values import clean, decode_cp1252
from p2psync.limits import LISTED_FILES_MAX, NAME_BYTES_MAX, RECORD_FILE_BYTES_MAX

ListedKind = Literal["invoicing", "payroll"]

_KINDS: dict[bytes, ListedKind] = {b"#ECF": "invoicing", b"#ECS": "payroll"}


class ListedFile(NamedTuple):
    """One file that the list names; ``name`` has no folder, ``uid`` is its ``embedded_id``."""

    kind: ListedKind
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ListFormat:
    """Keeps the file whole."""

    name: str = "cresus-ecc"
    title: str = "Crésus list of exchange files"
    suffixes: tuple[str, ...] = (".ecc",)
    merge: Merge = "whole"

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the kind in the first line, and by the suffix where there is no such line."""
        kind = kind_of(head)
        return kind == b"ECC" if kind is not None else has_suffix(name, self.suffixes)

    def parse(self, data: bytes) -> Document:
        """Gives one segment without records, and how many files of each kind it names."""
        kinds = [file.kind for file in read_list(data)]
        counts = tuple([(tag.decode(), kinds.count(kind)) for tag, kind in _KINDS.items()])
        return replace(whole_document(self.name, data), counts=counts)

    def read_segment(self, raw: bytes) -> Segment:
        """Gives the segment of a whole file."""
        return whole_segment(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields nothing: the file is kept whole."""
        return iter(())


FORMATS: tuple[Format, ...] = (ListFormat(),)


def read_list(data: bytes) -> list[ListedFile]:
    """Reads the files that a list names (B-MAN-3); lines that cannot be read are left out.

    A folder in front of a name is cut off: the list may come from elsewhere, and a name in it
    must not reach out of the folder that it is looked up in. Gives ``LISTED_FILES_MAX`` at most.
    """
    files: list[ListedFile] = []
    for line in data[:RECORD_FILE_BYTES_MAX].split(b"\n"):
        tag, _, rest = line.partition(b"\t")
        kind = _KINDS.get(tag.strip())
        parts = decode_cp1252(rest).split(";")
        if kind is None or len(parts) < 4:
            continue
        path = clean(";".join(parts[2:-1])).replace("\\", "/")
        name = path.rpartition("/")[2].strip()
        if name in ("", ".", "..") or ":" in name or len(name.encode()) > NAME_BYTES_MAX:
            continue
        files.append(ListedFile(kind, name, clean(parts[-1])[:NAME_BYTES_MAX]))
        if len(files) == LISTED_FILES_MAX:
            break
    return files
