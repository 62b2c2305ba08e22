"""The operations that an entry carries, typed. Specification: docs/spec/operations.md.

An entry's payload is an array of operations, each ``[code, field, …]``. An operation is named by
``OpId``: the entry's id and its place in it. Codes that this version does not know are kept as
``Unknown``: they change nothing here and the mandate says that a newer p2psync wrote in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2psync.core import codec
from p2psync.core.schema import (
    Kind,
    Union,
    array,
    binary,
    boolean,
    choice,
    integer,
    optional,
    runs,
    structure,
    text,
    unrun,
)
from p2psync.errors import OperationError
from p2psync.limits import (
    ADDRESS_BYTES_MAX,
    AMOUNT_BYTES_MAX,
    CHUNK_ADDRESSES_INLINE_MAX,
    CHUNK_BYTES,
    CUT_HEADS_MAX,
    ENTRY_BYTES_MAX,
    ENTRY_OPERATIONS_MAX,
    ENTRY_REFERENCES_MAX,
    EXPECTED_SECONDS_MAX,
    FILE_CHUNKS_MAX,
    FORMAT_NAME_BYTES_MAX,
    INVITATION_USES_MAX,
    NAME_BYTES_MAX,
    POLICY_MINIMUMS_MAX,
    POSITION_BASE_BYTES_MAX,
    RELAY_ADDRESSES_MAX,
    TEXT_BYTES_MAX,
)

OpId = tuple[bytes, int]
"""The id of an entry (32 bytes) and an index into it: an operation, or a segment that it adds."""

ROLES = ("owner", "accounting", "writer", "reader", "relay")
FILE_KINDS = ("accounting", "invoicing", "payroll", "other")
LICENCES = ("valid", "trial", "no-updates", "unknown")
"""What a program says of its licence: in order, a trial version, no right to updates, not said."""
VERDICTS = ("confirmed", "refused", "withdrawn")
"""Of a save that is held back: it was taken, it was put aside, it is not there any more."""
FILE_ID_BYTES = 16
SEGMENT_KEY_BYTES = 16
CHUNK_REFERENCE_BYTES = 64
"""A sealed chunk's address, then its plaintext's digest."""


def _op_ids(maximum: int) -> Kind[tuple[OpId, ...]]:
    """Sorted references, those into one entry together: ``[[entry, runs of indexes], …]``."""

    def load(value: codec.Value) -> tuple[OpId, ...]:
        if type(value) is not tuple:
            raise ValueError("not an array of references")
        out: list[OpId] = []
        last = b""
        for group in value:
            match group:
                case (bytes() as entry, tuple() as encoded) if len(entry) == 32 and entry > last:
                    if not encoded or any(type(number) is not int for number in encoded):
                        raise ValueError("not runs of indexes")
                    indexes = unrun(encoded, maximum - len(out))
                    if indexes[-1] >= ENTRY_BYTES_MAX:
                        raise ValueError("an index beyond any entry")
                    out += [(entry, index) for index in indexes]
                    last = entry
                case _:
                    raise ValueError("not ascending references")
        return tuple(out)

    def dump(value: tuple[OpId, ...]) -> codec.Value:
        if not value:
            return ()
        groups: dict[bytes, list[int]] = {}
        for entry, index in sorted(value):
            groups.setdefault(entry, []).append(index)
        return [[entry, runs(indexes)] for entry, indexes in groups.items()]

    return Kind(load, dump)


def _edits() -> Kind["Edits"]:
    """References that are not expanded unless as many contents stand beside them."""

    def load(value: codec.Value) -> Edits:
        match value:
            case (elements, tuple() as contents):
                return Edits(_op_ids(len(contents)).load(elements), _raws.load(contents))
            case _:
                raise ValueError("not edits")

    def dump(value: Edits) -> codec.Value:
        return [_references.dump(value.elements), _raws.dump(value.raws)]

    return Kind(load, dump)


def _taken() -> Kind["Taken"]:
    """References that are not expanded unless as many keys stand beside them."""

    def load(value: codec.Value) -> Taken:
        match value:
            case (file, elements, bytes() as keys):
                most = len(keys) // SEGMENT_KEY_BYTES
                return Taken(_file.load(file), _op_ids(most).load(elements), keys)
            case _:
                raise ValueError("not segments of a file")

    def dump(value: Taken) -> codec.Value:
        return [value.file, _references.dump(value.elements), value.keys]

    return Kind(load, dump)


# -- the mandate and its members ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Founds the mandate; only in the entry at seq 0 of the creator's log.

    The mandate's id is ``mandate_id(device, salt)``: only the holder of that device's key can
    have certified the log it stands in, so nobody can forge a mandate's beginning (B-MAN-5).
    """

    device: bytes
    salt: bytes
    name: str


@dataclass(frozen=True, slots=True)
class OpenLog:
    """Opens an incarnation of a device's log; the first operation of every log.

    ``certificate`` is the device key's signature over mandate, log and incarnation.
    """

    device: bytes
    incarnation: int
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Describe:
    """How the device's person wants to be shown; the last writer wins."""

    name: str
    machine: str


@dataclass(frozen=True, slots=True)
class Invite:
    """Makes a ticket valid: the public half of its admission secret, and what it allows."""

    invitation: bytes
    role: str
    expires_ms: int
    uses: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Takes an invitation back; admissions made before stay."""

    invitation: bytes


@dataclass(frozen=True, slots=True)
class Redeem:
    """A newcomer's proof that it holds the ticket: the admission secret's signature over it."""

    invitation: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class Admit:
    """Makes a device a member, with the invitation's role."""

    device: bytes
    invitation: bytes


@dataclass(frozen=True, slots=True)
class SetRole:
    """Gives a strictly junior member another role."""

    device: bytes
    role: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes a strictly junior member, or oneself: of its entries those count that ``cut`` names,
    and those before them in their logs."""

    device: bytes
    cut: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Readmit:
    """Undoes removals of a strictly junior device: it is what it was, and all it wrote counts."""

    device: bytes
    removals: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class SealedKey:
    """An epoch key for one device, sealed to it."""

    device: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Rotate:
    """Starts an epoch: its key for each remaining device. Without ``keys`` it starts nothing and
    hands on, to who has the epoch's key, the one ``before`` under it."""

    epoch: bytes
    keys: tuple[SealedKey, ...]
    before: bytes


@dataclass(frozen=True, slots=True)
class Share:
    """Turns the local mandate into a shared one (B-MAN-4)."""


@dataclass(frozen=True, slots=True)
class Rename:
    """Names the mandate; the last writer wins."""

    name: str


@dataclass(frozen=True, slots=True)
class ClaimSeat:
    """Takes the accounting seat for a term (B-MAN-1)."""

    term: int


@dataclass(frozen=True, slots=True)
class HandSeat:
    """Hands the accounting seat to another device."""

    term: int
    device: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Closes the mandate for everyone (B-REM-5); its files stay as they are."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Undoes closings."""

    closes: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """The author's device has removed the mandate from its list; it goes on for the others."""


@dataclass(frozen=True, slots=True)
class Return:
    """Undoes the author's ``Leave``; of both, the device's last one counts."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """The oldest version of a program whose files are taken."""

    program: str
    version: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Which programs' files may not be shared, synchronised or migrated (B-VAL-1); the last
    writer wins.

    ``trial`` refuses those of trial versions, ``no_updates`` those of programs without a right to
    updates, ``unknown`` those that no program registered, ``minimums`` those of older programs.
    """

    trial: bool
    no_updates: bool
    unknown: bool
    minimums: tuple[Minimum, ...]


@dataclass(frozen=True, slots=True)
class SetRelay:
    """Says where a relay (its key) is that the members are to use (B-NET-2), or, without
    addresses, that they are not to use it.

    ``addresses`` are multiaddrs with the relay's peer ID, and a token where it asks for one.
    ``replaces`` names what was said of this relay before; what it does not name stands beside it.
    """

    relay: bytes
    addresses: tuple[str, ...]
    replaces: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Observe:
    """Changes nothing: carries heads that did not fit into the deps of one entry."""


# -- files ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddFile:
    """Attaches a file. ``file`` is random and never changes; days count from 0001-01-01."""

    file: bytes
    name: str
    kind: str
    format: str
    folder: str
    follows: bytes | None
    period_from: int | None
    period_to: int | None


@dataclass(frozen=True, slots=True)
class Detach:
    """Takes a file off the mandate; a version that it does not name brings the file back."""

    file: bytes
    versions: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Reattach:
    """Undoes detachings of a file."""

    file: bytes
    detaches: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attached file is now, on the author's device (B-MIG-1, B-MIG-2); the last writer
    wins."""

    file: bytes
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class Expect:
    """How often, in seconds, a file promises to be saved (B-NOT-1); 0 promises nothing; the last
    writer wins."""

    file: bytes
    seconds: int


@dataclass(frozen=True, slots=True)
class Register:
    """The program that writes a file, and what it says of itself (B-VAL-1); the last writer
    wins."""

    file: bytes
    program: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True)
class Run:
    """New segments that follow each other: positions are ``base`` and a counter from 0."""

    base: bytes
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Edits:
    """New content of elements that exist: one raw for each, in the order of the references."""

    elements: tuple[OpId, ...]
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Changes segments of a record file; takes effect with the ``Save`` that names its entry.

    Segments are numbered within the entry: over its operations in order, first ``adds``, then
    ``edits``. ``removes`` names the values (not the elements) that are gone or replaced.
    """

    file: bytes
    adds: tuple[Run, ...]
    edits: Edits
    removes: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Chunked:
    """Content in chunks: references inline, or in chunks that hold nothing but references.

    ``references`` is a string of 64-byte references; ``indirect`` says that each of them points at
    a chunk full of references.
    """

    indirect: bool
    references: bytes


@dataclass(frozen=True, slots=True)
class Save:
    """A new version of a file, in place of ``parents``.

    For a record file ``content`` is ``None``: the version's bytes are what the changes of ``parts``
    (entries of the same log) and of this entry make of the parents'. ``mergeable`` is false
    for content that must never be merged with another. ``digest`` (32 bytes) and ``size_bytes``
    are the author's word on the file.
    """

    file: bytes
    parents: tuple[OpId, ...]
    parts: tuple[bytes, ...]
    content: Chunked | None
    mergeable: bool
    size_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """The author's device holds a save of a file back until a person answers (B-HIS-3).

    ``digest`` (32 bytes) is of the content that waits; the sizes and numbers of records are those
    of the file before and with it. ``deleted`` and ``added`` count records, ``amount`` sums up the
    deleted ones in plain digits, ``first`` and ``last`` are the days between which they lie. A
    later one of the same device on the same file takes its place.
    """

    file: bytes
    digest: bytes
    bytes_before: int
    bytes_after: int
    records_before: int
    records_after: int
    deleted: int
    added: int
    amount: str
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a save that is held back: of the holding device it is what was done, of an
    accounting what is to be done there.

    ``holds`` names one ``Hold``.
    """

    file: bytes
    holds: tuple[OpId, ...]
    verdict: str


# -- posting ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """Segments of one file that a receipt takes or gives back: elements, and 16-byte keys of
    their content in the same (ascending) order, joined."""

    file: bytes
    elements: tuple[OpId, ...]
    keys: bytes


@dataclass(frozen=True, slots=True)
class Post:
    """A receipt (B-POS-3): names exactly what was posted, and what posted content is gone.

    ``added`` and ``deleted`` are the numbers of records that the person was told.
    """

    term: int
    adds: tuple[Taken, ...]
    drops: tuple[Taken, ...]
    added: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Unpost:
    """Retracts receipts (B-POS-5)."""

    receipts: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """An operation of a newer p2psync."""

    code: int


Operation = (
    Create
    | OpenLog
    | Describe
    | Invite
    | Revoke
    | Redeem
    | Admit
    | SetRole
    | Remove
    | Readmit
    | Rotate
    | Share
    | Rename
    | ClaimSeat
    | HandSeat
    | Close
    | Reopen
    | Leave
    | Return
    | Policy
    | SetRelay
    | Hold
    | Answer
    | Observe
    | AddFile
    | Detach
    | Reattach
    | Place
    | Expect
    | Register
    | Lines
    | Save
    | Post
    | Unpost
    | Unknown
)

_MANY = 1 << 17
_key = binary(32)
_file = binary(FILE_ID_BYTES)
_name = text(NAME_BYTES_MAX)
_signature = binary(64)
_day = optional(integer(1, 3_652_059))
_raws = array(binary(1, ENTRY_BYTES_MAX), _MANY)
_references = _op_ids(ENTRY_REFERENCES_MAX)
_chunked = structure(
    Chunked,
    indirect=boolean(),
    references=binary(0, CHUNK_ADDRESSES_INLINE_MAX * CHUNK_REFERENCE_BYTES),
)

_operations = Union("operation")
_operations.add(0, Create, device=_key, salt=binary(16), name=_name)
_operations.add(1, OpenLog, device=_key, incarnation=integer(0, 1 << 32), certificate=_signature)
_operations.add(2, Describe, name=_name, machine=_name)
_operations.add(
    3,
    Invite,
    invitation=_key,
    role=choice(*ROLES),
    expires_ms=integer(),
    uses=integer(1, INVITATION_USES_MAX),
)
_operations.add(4, Revoke, invitation=_key)
_operations.add(5, Redeem, invitation=_key, proof=_signature)
_operations.add(6, Admit, device=_key, invitation=_key)
_operations.add(7, SetRole, device=_key, role=choice(*ROLES))
_operations.add(8, Remove, device=_key, cut=array(_key, CUT_HEADS_MAX))
_operations.add(
    9,
    Rotate,
    epoch=binary(16),
    keys=array(structure(SealedKey, device=_key, sealed=binary(80)), 1024),
    before=binary(0, 128),
)
_operations.add(10, Share)
_operations.add(11, Rename, name=_name)
_operations.add(12, ClaimSeat, term=integer(1, 1 << 32))
_operations.add(13, HandSeat, term=integer(1, 1 << 32), device=_key)
_operations.add(14, Observe)
_operations.add(
    20,
    AddFile,
    file=_file,
    name=text(1024),
    kind=choice(*FILE_KINDS),
    format=text(FORMAT_NAME_BYTES_MAX),
    folder=text(TEXT_BYTES_MAX),
    follows=optional(_file),
    period_from=_day,
    period_to=_day,
)
_operations.add(21, Detach, file=_file, versions=_op_ids(1024))
_operations.add(
    22,
    Lines,
    file=_file,
    adds=array(structure(Run, base=binary(1, POSITION_BASE_BYTES_MAX), raws=_raws), _MANY),
    edits=_edits(),
    removes=_references,
)
_operations.add(
    23,
    Save,
    file=_file,
    parents=_op_ids(1024),
    parts=array(_key, 4096),
    content=optional(_chunked),
    mergeable=boolean(),
    size_bytes=integer(0, FILE_CHUNKS_MAX * CHUNK_BYTES),
    digest=_key,
)
_operations.add(24, Reattach, file=_file, detaches=_op_ids(1024))
_operations.add(25, Place, file=_file, name=text(1024), folder=text(TEXT_BYTES_MAX))
_operations.add(26, Expect, file=_file, seconds=integer(0, EXPECTED_SECONDS_MAX))
_operations.add(
    27,
    Register,
    file=_file,
    program=text(NAME_BYTES_MAX),
    version=text(NAME_BYTES_MAX),
    licence=choice(*LICENCES),
)
_operations.add(
    30,
    Post,
    term=integer(0, 1 << 32),
    adds=array(_taken(), 1024),
    drops=array(_taken(), 1024),
    added=integer(),
    deleted=integer(),
)
_operations.add(31, Unpost, receipts=_op_ids(1024))
_operations.add(40, Close)
_operations.add(41, Reopen, closes=_op_ids(1024))
_operations.add(42, Leave)
_operations.add(43, Return)
_operations.add(
    44,
    Policy,
    trial=boolean(),
    no_updates=boolean(),
    unknown=boolean(),
    minimums=array(
        structure(Minimum, program=text(NAME_BYTES_MAX), version=text(NAME_BYTES_MAX)),
        POLICY_MINIMUMS_MAX,
    ),
)
_operations.add(
    45,
    Hold,
    file=_file,
    digest=_key,
    bytes_before=integer(),
    bytes_after=integer(),
    records_before=integer(),
    records_after=integer(),
    deleted=integer(),
    added=integer(),
    amount=text(AMOUNT_BYTES_MAX),
    first=_day,
    last=_day,
)
_operations.add(46, Answer, file=_file, holds=_op_ids(1), verdict=choice(*VERDICTS))
_operations.add(48, Readmit, device=_key, removals=_op_ids(1024))
_operations.add(
    50,
    SetRelay,
    relay=_key,
    addresses=array(text(ADDRESS_BYTES_MAX), RELAY_ADDRESSES_MAX),
    replaces=_op_ids(1024),
)


def encode(operations: Sequence[Operation]) -> bytes:
    """Return a payload.

    Raises ``OperationError`` for what ``decode`` would refuse: it holds 1 to 4,096 operations that
    name at most ``ENTRY_REFERENCES_MAX`` others, and every field is what it may be. What nobody
    could read would be lost for good once it is written.
    """
    if not 1 <= len(operations) <= ENTRY_OPERATIONS_MAX:
        raise OperationError(cause=f"an entry holds 1 to {ENTRY_OPERATIONS_MAX} operations")
    _bound(sum(map(_named, operations)))
    # Lines come from the file's own bytes, and checking them would cost as much as reading them.
    parts: list[bytes] = []
    for operation in operations:
        part = codec.pack(_operations.dump(operation))
        if type(operation) is not Lines:
            limit = max(len(part), ENTRY_BYTES_MAX)
            _consistent(_load(codec.unpack(part, limit, typed=True)))
        parts.append(part)
    return codec.join(parts)


def decode(payload: bytes) -> tuple[Operation, ...]:
    """Read a payload; raises ``CodecError`` or ``OperationError`` for anything malformed."""
    value = codec.unpack(payload, ENTRY_BYTES_MAX, typed=True)
    if type(value) is not tuple or not 1 <= len(value) <= ENTRY_OPERATIONS_MAX:
        raise OperationError(cause=f"an entry holds 1 to {ENTRY_OPERATIONS_MAX} operations")
    out: list[Operation] = []
    named = 0
    for item in value:
        operation = _consistent(_load(item))
        named += _named(operation)
        _bound(named)
        out.append(operation)
    return tuple(out)


def _load(item: codec.Value) -> Operation:
    if type(item) is tuple and item and type(item[0]) is int:
        quick = _load_lines(item) or _load_save(item)
        if quick is not None:
            return quick
    operation: Operation | None = _operations.load(item)
    if operation is None:
        codec.check(item)
        return Unknown(item[0])
    return operation


_NO_EDITS = Edits((), ())
_BYTES = {bytes}


def _load_lines(item: codec.Value) -> Lines | None:
    """Read the usual ``Lines``, which adds and does nothing else; ``None`` for anything else."""
    match item:
        case (22, bytes() as file, tuple() as adds, ((), ()), ()) if len(file) == FILE_ID_BYTES:
            pass
        case _:
            return None
    runs_of: list[Run] = []
    for run in adds:
        match run:
            case (bytes() as base, tuple() as raws) if (
                0 < len(base) <= POSITION_BASE_BYTES_MAX
                and len(raws) <= _MANY
                and set(map(type, raws)) <= _BYTES
                and b"" not in raws
            ):
                runs_of.append(Run(base, raws))
            case _:
                return None
    return Lines(file, tuple(runs_of), _NO_EDITS, ())


def _load_save(item: codec.Value) -> Save | None:
    """Read the usual ``Save``: of lines, one entry, at most one parent; ``None`` for any other."""
    match item:
        case (
            23,
            bytes() as file,
            tuple() as parents,
            (),
            None,
            bool() as mergeable,
            int() as size_bytes,
            bytes() as digest,
        ) if len(file) == FILE_ID_BYTES and len(digest) == 32:
            pass
        case _:
            return None
    if type(size_bytes) is not int or not 0 <= size_bytes <= FILE_CHUNKS_MAX * CHUNK_BYTES:
        return None
    match parents:
        case ():
            return Save(file, (), (), None, mergeable, size_bytes, digest)
        case ((bytes() as entry, (index, count)),) if (
            len(entry) == 32
            and type(index) is int
            and 0 <= index < ENTRY_BYTES_MAX
            and type(count) is int
            and count == 1
        ):
            return Save(file, ((entry, index),), (), None, mergeable, size_bytes, digest)
        case _:
            return None


def _named(operation: Operation) -> int:
    """How many references an operation holds whose number its bytes do not bound."""
    match operation:
        case Lines(removes=references) | Detach(versions=references):
            return len(references)
        case Save(parents=references) | Unpost(receipts=references):
            return len(references)
        case Reattach(detaches=references) | Reopen(closes=references):
            return len(references)
        case Readmit(removals=references) | SetRelay(replaces=references):
            return len(references)
    return 0


def _bound(named: int) -> None:
    if named > ENTRY_REFERENCES_MAX:
        raise OperationError(cause=f"names more than {ENTRY_REFERENCES_MAX} operations")


def _consistent(operation: Operation) -> Operation:
    """Check what spans several fields."""
    match operation:
        case Lines(edits=Edits(elements=elements, raws=raws)) if len(elements) != len(raws):
            raise OperationError(cause="edits without their content")
        case Answer(holds=()):
            raise OperationError(cause="an answer to nothing")
        case Save(content=Chunked(references=refs)) if len(refs) % CHUNK_REFERENCE_BYTES:
            raise OperationError(cause="half a chunk reference")
        case Post(adds=adds, drops=drops):
            for taken in (*adds, *drops):
                if len(taken.keys) != SEGMENT_KEY_BYTES * len(taken.elements):
                    raise OperationError(cause="a receipt without the keys of what it names")
    return operation


def keyed(taken: Iterable[Taken]) -> Iterable[tuple[bytes, OpId, bytes]]:
    """Yield (file, element, 16-byte content key) for all that a receipt names."""
    for part in taken:
        for place, element in enumerate(part.elements):
            at = SEGMENT_KEY_BYTES * place
            yield part.file, element, part.keys[at : at + SEGMENT_KEY_BYTES]


def take(file: bytes, items: Iterable[tuple[OpId, bytes]]) -> Taken:
    """Build the ``Taken`` of one file from elements and their 16-byte content keys.

    An element can be named with one key only.
    """
    ordered = sorted(items)
    return Taken(file, tuple(e for e, _ in ordered), b"".join(key for _, key in ordered))
