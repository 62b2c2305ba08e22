"""Checks an audit file frame by frame: what docs/spec/audit.md calls its integrity.

Everything here needs no key: chains, signatures, certificates, the manifest. Who has the keys looks
into the entries, too (``p2psync.audit.reading``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import blake3

from p2psync.audit.findings import Finding, note, problem
from p2psync.audit.frames import Frame
from p2psync.core import audit, entry
from p2psync.core.audit import Content, Head, Kind, Log, LogHead, Manifest, Stamp
from p2psync.core.entry import Entry, Header
from p2psync.errors import AuditFileError, BadInputError
from p2psync.limits import (
    AUDIT_CONTENTS_MAX,
    AUDIT_ENTRIES_MAX,
    AUDIT_HEADS_MAX,
    AUDIT_KEYS_MAX,
    AUDIT_LOGS_MAX,
    AUDIT_PROBLEMS_MAX,
    AUDIT_STAMPS_MAX,
)

_SEQ_BITS = 48
_STAMP_SHIFT = 80
_POSITION_MASK = (1 << _STAMP_SHIFT) - 1
Look = Callable[[Entry, int | None, int], int]
"""Looks into an entry that stands in its chain: gets the greatest effective time of its past
(``None``: it has none) and its offset in the file; returns its own effective time, or 0."""


@dataclass(slots=True)
class CheckedContent:
    """A content of the file, and the digest and size of the pieces that came."""

    content: Content
    size_bytes: int = 0
    digest: bytes = b""


@dataclass(slots=True)
class Check:
    """What is known of a file so far; ``take`` each frame, then ``finish``."""

    look: Look | None = None
    head: Head | None = None
    logs: dict[bytes, Log] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    entries: int = 0
    contents: list[CheckedContent] = field(default_factory=list)
    manifest: Manifest | None = None
    manifest_body: bytes = b""
    stamps: list[Stamp] = field(default_factory=list)
    problems: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    """Problems beyond those that are listed."""
    notes: list[Finding] = field(default_factory=list)
    first_hlc: int | None = None
    last_hlc: int = 0
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _known: dict[bytes, int] = field(default_factory=dict)
    """Of each entry in one integer: effective time, number of its log, seq."""
    _heads: dict[bytes, tuple[LogHead, bytes]] = field(default_factory=dict)
    """Ends of branches so far, each with its signature."""
    _hasher: blake3.blake3 | None = None

    def wrong(self, found: Finding) -> None:
        """Note that something is wrong."""
        if len(self.problems) < AUDIT_PROBLEMS_MAX:
            self.problems.append(found)
        else:
            self.unlisted += 1

    def take(self, frame: Frame) -> None:
        """Take the next frame; raises ``AuditFileError`` when nothing more can be made of it."""
        if frame.kind is Kind.ENTRY:
            self._entry(frame)
            return
        if frame.kind is not Kind.PIECE:
            self._end_content()
        match frame.kind:
            case Kind.HEAD:
                self.head = audit.load_head(frame.body)
                if not self.head.holds:
                    self.wrong(problem("founder"))
            case Kind.LOG:
                self._log(audit.load_log(frame.body))
            case Kind.KEY:
                self._key(frame.body)
            case Kind.CONTENT:
                if len(self.contents) >= AUDIT_CONTENTS_MAX:
                    raise AuditFileError(cause="too many contents")
                self.contents.append(CheckedContent(audit.load_content(frame.body)))
                self._hasher = blake3.blake3()
            case Kind.PIECE:
                assert self._hasher is not None
                self._hasher.update(frame.body)
                self.contents[-1].size_bytes += len(frame.body)
            case Kind.MANIFEST:
                self._manifest(frame)
            case Kind.STAMP:
                if len(self.stamps) >= AUDIT_STAMPS_MAX:
                    raise AuditFileError(cause="too many time stamps")
                self.stamps.append(audit.load_stamp(frame.body))
            case Kind.END:
                if frame.body != frame.digest:
                    self.wrong(problem("altered"))

    def _end_content(self) -> None:
        if self._hasher is not None:
            self.contents[-1].digest = self._hasher.digest()
            self._hasher = None

    def _log(self, log: Log) -> None:
        assert self.head is not None
        if len(self.logs) >= AUDIT_LOGS_MAX:
            raise AuditFileError(cause="too many logs")
        if self.logs and log.log <= next(reversed(self.logs)):
            self.wrong(problem("log-order", log=short(log.log)))
        elif not log.certified(self.head.mandate):
            found = problem("log-certificate", device=short(log.device), log=short(log.log))
            self.wrong(found)
        self._numbers[log.log] = len(self._numbers)
        self.logs[log.log] = log

    def _key(self, key: bytes) -> None:
        if len(key) != 32 or len(self.keys) >= AUDIT_KEYS_MAX:
            raise AuditFileError(cause="a key that is none, or too many of them")
        if key in self.keys:
            self.wrong(problem("key-repeated"))
        self.keys.append(key)

    # -- entries ------------------------------------------------------------------------------

    def _entry(self, frame: Frame) -> None:
        assert self.head is not None
        self.entries += 1
        if self.entries > AUDIT_ENTRIES_MAX:
            raise AuditFileError(cause="too many entries")
        try:
            item = entry.decode(frame.body)
        except BadInputError as error:
            where = f"#{self.entries}, byte {frame.offset}"
            self.wrong(problem("entry", where=where, cause=error.params["cause"]))
            return
        number = self._numbers.get(item.log)
        if item.header.mandate != self.head.mandate:
            self._wrong_at("entry-mandate", item, frame.offset)
        elif number is None:
            self._wrong_at("log-unknown", item, frame.offset)
        elif item.id in self._known:
            self._wrong_at("entry-repeated", item, frame.offset)
        else:
            self._chain(item, number, frame.offset)

    def _wrong_at(self, code: str, item: Entry, offset: int) -> None:
        self.wrong(problem(code, where=where(item, offset)))

    def _chain(self, item: Entry, number: int, offset: int) -> None:
        header, known = item.header, self._known
        past: int | None = None
        if header.prev:
            before = known.get(header.prev)
            if before is None:
                self._wrong_at("prev-missing", item, offset)
            elif before & _POSITION_MASK != (number << _SEQ_BITS) | (item.seq - 1):
                self._wrong_at("prev-other", item, offset)
            else:
                past = before >> _STAMP_SHIFT
        for dep in header.deps:
            position = known.get(dep)
            if position is None:
                self._wrong_at("deps-missing", item, offset)
            else:
                past = max(past or 0, position >> _STAMP_SHIFT)
        self._heads.pop(header.prev, None)
        self._heads[item.id] = (LogHead(item.log, item.seq, item.id), item.signature)
        if len(self._heads) > AUDIT_HEADS_MAX:
            raise AuditFileError(cause="too many ends of logs")
        stamp = 0 if self.look is None else self.look(item, past, offset)
        known[item.id] = (stamp << _STAMP_SHIFT) | (number << _SEQ_BITS) | item.seq
        if self.first_hlc is None or header.hlc < self.first_hlc:
            self.first_hlc = header.hlc
        if header.hlc > self.last_hlc:
            self.last_hlc = header.hlc

    def has(self, head: LogHead) -> bool:
        """Tell whether the file has this entry at this place of this log."""
        known, number = self._known.get(head.entry), self._numbers.get(head.log)
        if known is None or number is None:
            return False
        return known & _POSITION_MASK == (number << _SEQ_BITS) | head.seq

    # -- the end ------------------------------------------------------------------------------

    def _manifest(self, frame: Frame) -> None:
        assert self.head is not None
        manifest, holds = audit.load_manifest(frame.body)
        self.manifest, self.manifest_body = manifest, frame.body
        who = short(manifest.device)
        if not holds:
            self.wrong(problem("manifest-signature", device=who))
        if manifest.digest != frame.digest:
            self.wrong(problem("changed"))
        if manifest.mandate != self.head.mandate:
            self.wrong(problem("manifest-mandate"))
        if all(log.device != manifest.device for log in self.logs.values()):
            self.wrong(problem("exporter-log", device=who))
        for what, said, found in (
            ("entries", manifest.entries, self.entries),
            ("contents", manifest.contents, len(self.contents)),
        ):
            if said != found:
                self.wrong(problem("manifest-counts", what=what, said=said, found=found))
        if manifest.sealed != (not self.keys):
            self.wrong(problem("manifest-counts", what="keys", said="?", found=len(self.keys)))
        self._check_heads(manifest)

    def _check_heads(self, manifest: Manifest) -> None:
        assert self.head is not None
        found = sorted(head for head, _ in self._heads.values())
        if tuple(found) != manifest.heads:
            differs = sorted(set(found) ^ set(manifest.heads))
            cause = ", ".join(f"{short(each.log)}/{each.seq}" for each in differs[:5]) or "order"
            self.wrong(problem("manifest-heads", cause=cause))
        ends: dict[bytes, int] = dict.fromkeys(self.logs, 0)
        for head, signature in self._heads.values():
            ends[head.log] += 1
            if not _signed(self.head.mandate, head, signature):
                self.wrong(problem("signature", where=f"{short(head.log)}/{head.seq}"))
        for log, count in ends.items():
            if not count:
                self.wrong(problem("log-empty", log=short(log)))
            elif count > 1:
                self.notes.append(note("fork", log=short(log), count=count))


def where(item: Entry, offset: int) -> str:
    """How an entry is named to people: its log, its place there, its place in the file."""
    return f"{short(item.log)}/{item.seq}, byte {offset}"


def _signed(mandate: bytes, head: LogHead, signature: bytes) -> bool:
    header = Header(mandate, head.log, head.seq, b"", (), 0, b"", 0)
    return entry.signature_holds(Entry(head.entry, header, b"", b"", b"", signature, b""))


def short(identifier: bytes) -> str:
    """The beginning of an id, as the command line shows it."""
    return identifier.hex()[:16]
