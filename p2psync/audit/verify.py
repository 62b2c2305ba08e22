"""Verifies an audit file: all that can be said of it, by who has nothing but the file."""

import gc
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from cryptography import x509

from p2psync.audit import stamps
from p2psync.audit.check import Check, short
from p2psync.audit.findings import Finding, problem, proven, request, unproven
from p2psync.audit.frames import frames
from p2psync.audit.reading import Reading
from p2psync.audit.stamps import StampCheck
from p2psync.core import audit, clock
from p2psync.core.audit import MAGIC, Kind, LogHead
from p2psync.core.mandate import Mandate
from p2psync.core.records import SegmentReader
from p2psync.errors import AuditFileError, HeadsInvalid, InputUnreadable
from p2psync.formats.registry import read_segment
from p2psync.limits import HEADS_FILE_BYTES_MAX

Tell = Callable[[int, int], None]
"""Is told how many bytes of how many were read."""
_TELL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the file is held against.

    ``mandate``: the id (32 bytes) that it must have. ``heads``: ends of logs that it must contain.
    ``roots``: certificates of time-stamping authorities that are trusted.
    """

    mandate: bytes | None = None
    heads: Sequence[LogHead] = ()
    roots: Sequence[x509.Certificate] = ()


@dataclass(slots=True)
class Verification:
    """What came of it. ``state`` is the mandate's fold, for a file with keys that holds."""

    check: Check
    state: Mandate | None = None
    reading: Reading | None = None
    requests: list[Finding] = field(default_factory=list)
    stamps: list[StampCheck] = field(default_factory=list)
    proven: list[Finding] = field(default_factory=list)
    unproven: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether the file holds in itself."""
        return not self.check.problems

    @property
    def verified(self) -> bool:
        """Whether it does, and is what was asked for."""
        return self.sound and not self.requests

    @property
    def exit_code(self) -> int:
        """0: verified; 3: it holds, but is not what was asked for; 5: it does not hold."""
        return 5 if not self.sound else 3 if self.requests else 0


def verify(
    path: Path,
    wanted: Wanted,
    *,
    reader: SegmentReader = read_segment,
    records: bool = False,
    tell: Tell = lambda done, total: None,
) -> Verification:
    """Verify a file; with ``records`` the fold in ``state`` has all records, too.

    Raises ``InputUnreadable`` for a file that the disk does not give, and nothing else.
    """
    collects = gc.isenabled()
    gc.disable()  # nothing of what is made for each entry refers to itself
    try:
        with path.open("rb", buffering=1 << 18) as file:
            return verify_stream(file, wanted, reader=reader, records=records, tell=tell)
    except OSError as error:
        raise InputUnreadable(path=path, cause=error.strerror or error) from None
    finally:
        if collects:
            gc.enable()


def verify_stream(
    file: BinaryIO,
    wanted: Wanted,
    *,
    reader: SegmentReader = read_segment,
    records: bool = False,
    tell: Tell = lambda done, total: None,
) -> Verification:
    """``verify`` for an open file, from where it stands."""
    check, start = Check(), file.tell()
    reading = Reading(check, reader, records)
    if not _read(file, check, reading, tell):
        return Verification(check, reading=reading)
    again = reading.again(Check())
    if again is not None and check.keys:
        file.seek(start)
        check, reading = again.check, again
        if not _read(file, check, reading, tell):
            return Verification(check, reading=reading)
    found = Verification(check, reading=reading)
    if check.keys:
        state = reading.fold()
        found.state = state if found.sound else None
    elif check.contents:
        check.wrong(problem("content-unknown", digest=check.contents[0].content.digest.hex()))
    _ask(found, wanted)
    if found.sound:
        _conclude(found, wanted)
    return found


def _read(file: BinaryIO, check: Check, reading: Reading, tell: Tell) -> bool:
    """Look at all frames; tell whether there was an end to them."""
    check.look = reading.look
    total = _size(file)
    told = 0
    try:
        for frame in frames(file):
            check.take(frame)
            if frame.offset - told >= _TELL_BYTES:
                told = frame.offset
                tell(told, total)
        tell(total, total)
    except AuditFileError as error:
        check.wrong(problem("damaged", cause=error.params["cause"]))
        return False
    return True


def _size(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except (OSError, AttributeError):
        return 0


def _ask(found: Verification, wanted: Wanted) -> None:
    """Hold the file against what was asked for."""
    check = found.check
    assert check.head is not None
    if wanted.mandate not in (None, check.head.mandate):
        assert wanted.mandate is not None
        pair = {"found": check.head.mandate.hex(), "wanted": wanted.mandate.hex()}
        found.requests.append(request("mandate-other", **pair))
    for head in wanted.heads:
        if not check.has(head):
            found.requests.append(
                request("head-missing", log=short(head.log), seq=head.seq, entry=short(head.entry))
            )
    for stamp in check.stamps:
        checked = stamps.check(stamp, check.manifest_body, wanted.roots)
        found.stamps.append(checked)
        if checked.cause:
            check.wrong(problem("stamp", authority=stamp.authority, cause=checked.cause))
        elif checked.distrust:
            distrust = request("stamp-untrusted", authority=stamp.authority, cause=checked.distrust)
            found.requests.append(distrust)
    if wanted.roots and not check.stamps:
        found.requests.append(request("stamp-none"))


def _conclude(found: Verification, wanted: Wanted) -> None:
    """Say what a sound file proves, and what it does not."""
    check, state = found.check, found.state
    assert check.head is not None and check.manifest is not None
    manifest, says, open_ = check.manifest, found.proven, found.unproven
    who = short(manifest.device)
    if state is not None and (known := state.devices.get(manifest.device)) and known.name:
        who = f"{known.name} ({who})"
    when = words(manifest.at_ms)
    says.append(proven("unchanged", who=who, when=when))
    says.append(proven("chains", entries=check.entries, logs=len(check.logs)))
    says.append(proven("closed"))
    if wanted.mandate == check.head.mandate:
        says.append(proven("mandate", mandate=check.head.mandate.hex()))
    elif wanted.mandate is None:
        open_.append(unproven("pin"))
    says.append(proven("founder", device=short(check.head.founder)))
    says.append(proven("authors"))
    if state is not None:
        says.append(proven("readable"))
        says.append(proven("members", members=len(state.membership.members)))
    else:
        open_.append(unproven("sealed"))
    if check.contents:
        says.append(proven("contents", count=len(check.contents)))
    elif state is not None:
        open_.append(unproven("no-contents"))
    missing = any(each.code == "head-missing" for each in found.requests)
    if wanted.heads and not missing:
        says.append(proven("heads", count=len(wanted.heads)))
    open_.append(unproven("tail-heads" if wanted.heads and not missing else "tail"))
    for stamp in found.stamps:
        at = stamp_words(stamp)
        if stamp.trusted:
            says.append(proven("stamped", authority=stamp.signer or stamp.authority, when=at))
        elif stamp.trusted is None:
            open_.append(unproven("stamp-unchecked", authority=stamp.authority, when=at))
    if not found.stamps:
        open_.append(unproven("no-stamp"))
    open_.append(unproven("clock"))
    if manifest.waiting:
        open_.append(unproven("waiting", count=manifest.waiting))
    open_.append(unproven("person"))


def utc(milliseconds: int) -> str:
    """A time in UTC, to the second."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return "?"
    return at.isoformat(timespec="seconds")


def words(milliseconds: int) -> str:
    """The same for people."""
    return utc(milliseconds).replace("T", " ").replace("+00:00", " UTC")


def hlc_words(hlc: int) -> str:
    """The time that a device's clock showed, for people."""
    return words(clock.milliseconds(hlc))


def stamp_words(stamp: StampCheck) -> str:
    """The time that a time stamp says, for people."""
    return "?" if stamp.at is None else words(int(stamp.at.timestamp() * 1000))


def hlc_utc(hlc: int) -> str:
    """The time that a device's clock showed."""
    return utc(clock.milliseconds(hlc))


def read_heads(path: Path) -> list[LogHead]:
    """Return the ends of logs that another audit file names, or JSON of export or verify.

    Raises ``HeadsInvalid`` and ``InputUnreadable``.
    """
    try:
        with path.open("rb", buffering=1 << 18) as file:
            return _heads_of(path, file)
    except OSError as error:
        raise InputUnreadable(path=path, cause=error.strerror or error) from None


def _heads_of(path: Path, file: BinaryIO) -> list[LogHead]:
    begin = file.read(len(MAGIC))
    file.seek(0)
    try:
        if begin == MAGIC:
            for frame in frames(file):
                if frame.kind is Kind.MANIFEST:
                    manifest, holds = audit.load_manifest(frame.body)
                    if not holds or manifest.digest != frame.digest:
                        raise HeadsInvalid(path=path, cause="its signature does not hold")
                    return list(manifest.heads)
        data = file.read(HEADS_FILE_BYTES_MAX + 1)
        if len(data) > HEADS_FILE_BYTES_MAX:
            raise HeadsInvalid(path=path, cause="it is too large")
        return [
            LogHead(bytes.fromhex(each["log"]), int(each["seq"]), bytes.fromhex(each["entry"]))
            for each in json.loads(data)["heads"]
        ]
    except AuditFileError as error:
        raise HeadsInvalid(path=path, cause=error.params["cause"]) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeadsInvalid(path=path, cause=type(error).__name__) from None
