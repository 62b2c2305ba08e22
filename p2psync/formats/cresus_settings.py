"""Crésus accounting settings: ``.crp``, the chart of accounts and VAT codes for the sources.

Windows-1252, CRLF: a header of ``KEY=value`` lines, then sections ``BEGIN=X … END=X`` that hold
``ENTRY`` blocks or bare lines, then ``ENDOFFILE`` without a line end. A value goes on over the next
line after CR CR LF. The PATHS section holds folders of the writing user and is never read.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Format, Merge, has_suffix, whole_segment
from p2psync.formats.values import clean, decode_cp1252, read_amount, read_date
from p2psync.limits import RECORD_FILE_BYTES_MAX, SETTINGS_ENTRIES_MAX

_HEADER = ""
_PRIVATE_SECTIONS = frozenset(("PATHS",))
_READ_SECTIONS = frozenset((_HEADER, "COMPTES", "TVACODES"))


@dataclass(frozen=True, slots=True)
class VatCode:
    """One VAT code; ``rate`` is a percentage, ``account`` the number the tax is booked to."""

    name: str
    rate: Decimal | None
    account: str
    comment: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a source has to know of one accounting year; names are decoded and printable.

    ``period`` is first and last day; ``accounts`` maps number to name, ``vat_codes`` name to code.
    """

    title: str = ""
    period: tuple[datetime.date, datetime.date] | None = None
    accounts: Mapping[str, str] = field(default_factory=dict)
    vat_codes: Mapping[str, VatCode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettingsFormat:
    """Keeps the file whole; knows its period."""

    name: str = "cresus-crp"
    title: str = "Crésus accounting settings"
    suffixes: tuple[str, ...] = (".crp",)
    merge: Merge = "whole"

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the suffix, or by the key that starts every such file."""
        return has_suffix(name, self.suffixes) or head.startswith(b"MAJREV=")

    def parse(self, data: bytes) -> Document:
        """Gives one segment without records, the period, and what is amiss with the file."""
        settings = read_settings(data)
        problems: list[Problem] = []
        if not data:
            problems.append(Problem("empty", "the file is empty"))
        elif not data.rstrip(b"\r\n").endswith(b"ENDOFFILE"):
            problems.append(Problem("truncated-tail", "the file does not end with ENDOFFILE"))
        if settings.period is None:
            problems.append(Problem("no-period", "the file names no accounting period"))
        segments = (whole_segment(data),) if data else ()
        counts = (("COMPTES", len(settings.accounts)), ("TVACODES", len(settings.vat_codes)))
        return Document(self.name, segments, False, tuple(problems), settings.period, counts=counts)

    def read_segment(self, raw: bytes) -> Segment:
        """Gives the segment of a whole file."""
        return whole_segment(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields nothing: the file is kept whole."""
        return iter(())


FORMATS: tuple[Format, ...] = (SettingsFormat(),)


def read_settings(data: bytes) -> Settings:
    """Reads title, period, accounts and VAT codes; empty where they are missing, never raises.

    A file above ``RECORD_FILE_BYTES_MAX`` is not read, nor what comes after the first
    ``SETTINGS_ENTRIES_MAX`` entries.
    """
    if len(data) > RECORD_FILE_BYTES_MAX:
        return Settings()
    header: dict[str, str] = {}
    accounts: dict[str, str] = {}
    vat_codes: dict[str, VatCode] = {}
    for count, (section, entry) in enumerate(_entries(data)):
        if count > SETTINGS_ENTRIES_MAX:
            break
        match section:
            case "COMPTES" if entry.get("NUM"):
                accounts[clean(entry["NUM"])] = clean(entry.get("NAME", ""))
            case "TVACODES" if entry.get("NAME"):
                name = clean(entry["NAME"])
                vat_codes[name] = VatCode(
                    name,
                    read_amount(entry.get("TAUX", "")),
                    clean(entry.get("COMPTE", "")),
                    clean(entry.get("COMMENT", "")),
                )
            case "":
                header = header or entry
            case _:
                pass
    begin = read_date(header.get("DATEBEG", ""))
    end = read_date(header.get("DATEEND", ""))
    period = (begin, end) if begin is not None and end is not None and begin <= end else None
    return Settings(clean(header.get("TITLE", "")), period, accounts, vat_codes)


def without_private(data: bytes) -> bytes:
    """Gives the bytes without the sections that hold folders of the person who wrote the file.

    A section that has no end goes on to the end of the file.
    """
    kept: list[bytes] = []
    private = ""
    for line in data.split(b"\n"):
        key, _, value = decode_cp1252(line).upper().partition("=")
        word, name = key.strip(), value.strip()
        if private:
            private = "" if (word, name) == ("END", private) else private
        elif word == "BEGIN" and name in _PRIVATE_SECTIONS:
            private = name
        else:
            kept.append(line)
    return b"\n".join(kept)


def _entries(data: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the header's keys, then each entry's, with the section that it stands in."""
    section = _HEADER
    entry: dict[str, str] = {}
    for line in _logical_lines(data):
        key, equals, value = line.partition("=")
        if section != _HEADER:
            if line == f"END={section}":
                if section in _READ_SECTIONS and entry:
                    yield section, entry
                section, entry = "-", {}
            elif section in _PRIVATE_SECTIONS:
                continue
        if section in (_HEADER, "-") and key == "BEGIN":
            if section == _HEADER:
                yield section, entry
            section, entry = value.strip() or "-", {}
        elif line == "ENTRY" and section in _READ_SECTIONS:
            if entry:
                yield section, entry
            entry = {}
        elif equals and section in _READ_SECTIONS:
            entry.setdefault(key, value)
    if entry and section in _READ_SECTIONS:
        yield section, entry


def _logical_lines(data: bytes) -> Iterator[str]:
    """Yields the lines without their ends; one that ends in CR CR LF goes on with the next."""
    waiting: list[str] = []
    for line in decode_cp1252(data).split("\n"):
        waiting.append(line.rstrip("\r"))
        if not line.endswith("\r\r"):
            yield "\n".join(waiting)
            waiting = []
    if waiting:
        yield "\n".join(waiting)
