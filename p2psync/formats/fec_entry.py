"""The entries of a FEC: lines of one JournalCode and EcritureNum, as soon as they balance.

What ``lines.join_balanced`` says, at half its cost for entries in which nothing is odd: a file has
a million lines.
"""

from collections.abc import Generator, Hashable, Iterable, Iterator
from itertools import chain

from p2psync.core.records import Segment
from p2psync.formats.fec_line import PLAIN_PIPE, PLAIN_TAB, PlainEntry, join, read_line
from p2psync.formats.lines import Line, join_balanced
from p2psync.limits import LINE_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX


def read_entries(raws: Iterable[bytes]) -> Iterator[Segment]:
    """Yields the segments of lines, in order; holds the lines of one entry."""
    source = iter(raws)
    run: list[bytes] = []
    run_journal = run_number = b""
    total = size = 0
    tab, pipe = PLAIN_TAB.match, PLAIN_PIPE.match
    for each in source:
        raw = each
        while raw:
            plain = (tab(raw) or pipe(raw)) if len(raw) <= LINE_BYTES_MAX else None
            if plain is not None:
                journal, number, debit, debit_cents, credit, credit_cents = plain.groups(b"0")
                debited, credited = int(debit + debit_cents), int(credit + credit_cents)
                if debited != credited and not (debited and credited):
                    if not run:
                        run_journal, run_number = journal, number
                        total = size = 0
                    if number == run_number and journal == run_journal:
                        size += len(raw)
                        if len(run) < SEGMENT_RECORDS_MAX and size <= SEGMENT_BYTES_MAX:
                            run.append(raw)
                            total += debited - credited
                            if not total:
                                yield PlainEntry(b"".join(run))
                                run = []
                            break
            raw = yield from _read_slowly([*run, raw], source)
            run = []
    yield from _read_slowly(run, source)


def _read_slowly(first: list[bytes], source: Iterator[bytes]) -> Generator[Segment, None, bytes]:
    """Yields the segments of the next lines of one entry, odd ones too.

    Returns the line after them, empty at the end.
    """
    after = b""

    def lines() -> Iterator[Line]:
        nonlocal after
        group: list[Hashable] = []
        for raw in chain(first, source):
            line = read_line(raw)
            group = group or [line.group]
            if line.group != group[0]:
                after = raw
                return
            yield line

    yield from join_balanced(lines(), join)
    return after
