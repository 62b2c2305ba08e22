"""The fold as small values that can be kept and taken up again: docs/spec/storage.md, "The fold".

Each thing has a name and a value, both bytes: the mandate as a whole, each file, each receipt, and
the entries that wait in the fold. They are written when they change. What grows with records is not
among them, see ``Past``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from p2psync.core import codec, ops
from p2psync.core.files import FileState, Past, Receipt, Version
from p2psync.core.holding import Answered, Held
from p2psync.core.mandate import Applied, Device, Dirty, Mandate, Part, Rotation
from p2psync.core.membership import Stamped, compute
from p2psync.core.ops import (
    AddFile,
    Chunked,
    Hold,
    Lines,
    Operation,
    OpId,
    Place,
    Policy,
    Register,
    Save,
    SetRelay,
)
from p2psync.core.records import SegmentReader
from p2psync.core.relays import NamedRelays, Naming
from p2psync.core.standing import Closing, Presence, Standing
from p2psync.errors import StateDamaged
from p2psync.limits import FILES_PER_MANDATE_MAX

VERSION = 5
"""Rises when the fold of the same entries gives other values: what is kept is then made anew."""

STALE = "it was to be made anew"
"""The cause when the power failed between an entry that changes what counts and the fold anew."""

Find = Callable[[bytes], Applied]
"""Reads an entry that was folded already."""

_BYTES_MAX = 1 << 30
_KINDS: dict[Dirty, bytes] = {
    "core": b"m",
    "file": b"f",
    "receipt": b"r",
    "held": b"h",
    "part": b"p",
}


# -- writing --------------------------------------------------------------------------------------


def name_of(kind: Dirty, name: bytes | OpId) -> bytes:
    """The name under which a thing is kept."""
    if isinstance(name, tuple):
        return _KINDS[kind] + name[0] + name[1].to_bytes(4, "big")
    return _KINDS[kind] + name


def value_of(state: Mandate, kind: Dirty, name: bytes | OpId) -> bytes | None:
    """What is to be kept of a thing; ``None`` when it is gone."""
    match kind, name:
        case "core", _:
            return codec.pack(_core(state))
        case "file", bytes():
            return codec.pack(_file(state.files[name]))
        case "receipt", tuple():
            return codec.pack(_receipt(state.receipts[name]))
        case "held", bytes():
            for device, entries in state.held.items():
                if any(entry.id == name for entry in entries):
                    return device
            return None
        case "part", bytes():
            part = state.parts.get(name)
            return None if part is None else codec.pack(sorted({each.file for each in part.lines}))
    raise AssertionError("a thing of no kind")


def everything(state: Mandate) -> list[tuple[Dirty, bytes | OpId]]:
    """All that there is to keep."""
    things: list[tuple[Dirty, bytes | OpId]] = [("core", b"")]
    things += [("file", file) for file in state.files]
    things += [("receipt", receipt) for receipt in state.receipts]
    things += [("held", entry.id) for entries in state.held.values() for entry in entries]
    things += [("part", part) for part in state.parts]
    return things


def _core(state: Mandate) -> codec.Value:
    return [
        state.name,
        state.founder,
        state.shared,
        state.stale,
        [[each.device, each.name, each.machine] for each in state.devices.values()],
        list(state.logs.items()),
        list(state.incarnations.items()),
        sorted(state.newer),
        [
            [each.id, each.device, each.stamp, ops.encode([each.operation]), sorted(each.covers)]
            for each in state.stamped
        ],
        state.named,
        [[device, stamp, op] for device, (stamp, op) in state.described.items()],
        state.claims,
        [[term, hands] for term, hands in state.hands.items()],
        list(state.unposted.items()),
        _standing(state.standing),
        state.root_epoch,
        [
            [each.epoch, each.id, each.device, each.stamp, sorted(each.recipients)]
            for each in state.rotations.values()
        ],
        list(state.quarantined.items()),
        _relays(state.relays),
    ]


def _relays(relays: NamedRelays) -> codec.Value:
    namings = sorted(relays.namings.values(), key=lambda each: each.id)
    return [
        [[each.id, each.device, each.stamp, ops.encode([each.said])] for each in namings],
        sorted(relays.replaced),
    ]


def _standing(standing: Standing) -> codec.Value:
    policies = standing.policies
    return [
        [[each.id, each.device, each.hlc, each.stamp] for each in standing.closings.values()],
        sorted(standing.reopened),
        [
            [device, each.id, each.left, each.hlc, each.stamp]
            for device, each in standing.presences.items()
        ],
        None if policies is None else [policies[0], policies[1], ops.encode([policies[2]])],
    ]


def _file(file: FileState) -> codec.Value:
    added = file.added
    return [
        None if added is None else [added[0], added[1], added[2], _encoded(added[3])],
        [_version(head) for head in file.heads.values()],
        sorted(file.missing),
        [[op, sorted(versions)] for op, versions in file.detached_by.items()],
        _arranged(file),
        sorted(file.contested),
        file.records,
        file.pending_counts,
        file.touches,
        file.mark,
        file.last_touch,
        [[save[1], [entry for entry, _, _ in save[5]]] for save in file.early],
    ]


def _arranged(file: FileState) -> codec.Value:
    placed, program = file.placed, file.program
    return [
        sorted(file.by_writers),
        sorted(file.reattached),
        None if placed is None else [placed[0], placed[1], placed[2], _encoded(placed[3])],
        file.expected,
        [_held(held) for held in file.holds.values()],
        None if program is None else [program[0], program[1], _encoded(program[2])],
    ]


def _held(held: Held) -> codec.Value:
    answers = [
        [each.id, each.device, each.hlc, each.stamp, each.verdict] for each in held.answers.values()
    ]
    return [held.id, held.device, held.hlc, held.stamp, ops.encode([held.said]), answers]


@lru_cache(maxsize=FILES_PER_MANDATE_MAX)
def _encoded(operation: Operation) -> bytes:
    return ops.encode([operation])


def _version(version: Version) -> codec.Value:
    content = version.content
    return [
        version.id,
        version.parents,
        version.parts,
        version.device,
        version.hlc,
        version.stamp,
        None if content is None else [content.indirect, content.references],
        version.mergeable,
        version.size_bytes,
        version.digest,
        version.records,
        version.added,
        version.deleted,
    ]


def _receipt(receipt: Receipt) -> codec.Value:
    return [
        receipt.id,
        receipt.device,
        receipt.hlc,
        receipt.stamp,
        receipt.files,
        receipt.added,
        receipt.deleted,
    ]


# -- reading --------------------------------------------------------------------------------------


def restore(
    mandate: bytes, reader: SegmentReader, kept: Mapping[bytes, bytes], past: Past, find: Find
) -> Mandate:
    """Make a fold of what was kept; raises ``StateDamaged`` when that makes no sense."""
    state = Mandate(mandate, reader, past=past)
    try:
        _take_core(state, codec.unpack(kept[b"m"], _BYTES_MAX))
        for name, value in kept.items():
            match name[:1]:
                case b"f":
                    file = state.files[name[1:]] = FileState(name[1:], reader, past=past)
                    _take_file(state, file, codec.unpack(value, _BYTES_MAX), find)
                case b"r":
                    receipt = Receipt(*codec.unpack(value, _BYTES_MAX))
                    state.receipts[receipt.id] = receipt
                case b"h":
                    state.held.setdefault(value, []).append(find(name[1:]))
                case b"p":
                    state.parts[name[1:]] = _part(find(name[1:]), codec.unpack(value, _BYTES_MAX))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise StateDamaged(cause=f"{type(error).__name__}: {error}") from error
    for entries in state.held.values():
        entries.sort(key=lambda entry: (entry.stamp, entry.id))
    state.retracted |= {
        receipt: by for receipt, by in state.unposted.items() if receipt in state.receipts
    }
    return state


def _take_core(state: Mandate, value: codec.Value) -> None:
    (
        state.name,
        state.founder,
        state.shared,
        stale,
        devices,
        logs,
        incarnations,
        newer,
        stamped,
        state.named,
        described,
        claims,
        hands,
        unposted,
        standing,
        state.root_epoch,
        rotations,
        quarantined,
        relays,
    ) = value
    if stale:
        raise StateDamaged(cause=STALE)
    state.devices |= {device: Device(device, *names) for device, *names in devices}
    state.logs |= dict(logs)
    state.incarnations |= dict(incarnations)
    state.newer |= set(newer)
    for op, device, stamp, payload, covers in stamped:
        (operation,) = ops.decode(payload)
        one = Stamped(op, device, stamp, operation, frozenset(covers))  # type: ignore[arg-type]  # what was written
        state.stamped.append(one)
    for epoch, op, device, stamp, recipients in rotations:
        state.rotations[epoch] = Rotation(epoch, op, device, stamp, frozenset(recipients))
    state.quarantined |= dict(quarantined)
    state.described |= {device: (stamp, op) for device, stamp, op in described}
    state.claims += claims
    state.hands |= {term: list(given) for term, given in hands}
    state.unposted |= dict(unposted)
    _take_standing(state.standing, standing)
    _take_relays(state.relays, relays)
    state.membership = compute(state.id, state.stamped)


def _take_standing(standing: Standing, value: codec.Value) -> None:
    closings, reopened, presences, policies = value
    for op, device, hlc, stamp in closings:
        standing.closings[op] = Closing(op, device, hlc, stamp)
    standing.reopened |= set(reopened)
    for device, op, left, hlc, stamp in presences:
        standing.presences[device] = Presence(op, left, hlc, stamp)
    if policies is not None:
        stamp, op, payload = policies
        (policy,) = ops.decode(payload)
        assert isinstance(policy, Policy)
        standing.policies = (stamp, op, policy)


def _take_relays(relays: NamedRelays, value: codec.Value) -> None:
    namings, replaced = value
    for op, device, stamp, payload in namings:
        (said,) = ops.decode(payload)
        assert isinstance(said, SetRelay)
        relays.namings[op] = Naming(op, device, stamp, said)
    relays.replaced |= set(replaced)


def _take_file(state: Mandate, file: FileState, value: codec.Value, find: Find) -> None:
    added, heads, missing, detached, arranged, contested, *numbers, early = value
    if added is not None:
        stamp, op, device, payload = added
        (operation,) = ops.decode(payload)
        assert isinstance(operation, AddFile)
        file.added = (stamp, op, device, operation)
    for head in heads:
        version = _version_of(head)
        file.heads[version.id] = file.versions.known[version.id] = version
    file.missing |= set(missing)
    file.detached_by |= {op: frozenset(versions) for op, versions in detached}
    _take_arranged(file, arranged)
    file.contested = frozenset(contested)
    file.records, file.pending_counts, file.touches, file.mark, file.last_touch = numbers
    file.versions.past = state.past
    for op, entries in early:
        entry = find(op[0])
        save = entry.operations[op[1]]
        assert isinstance(save, Save)
        lines = [
            (found.id, found.stamp, operation)
            for found in map(find, dict.fromkeys(entries))
            for operation in found.operations
            if isinstance(operation, Lines) and operation.file == file.id
        ]
        device = state.logs[entry.log]
        file.early.append((save, op, device, entry.hlc, entry.stamp, tuple(lines)))


def _take_arranged(file: FileState, value: codec.Value) -> None:
    by_writers, reattached, placed, file.expected, holds, program = value
    file.by_writers |= set(by_writers)
    file.reattached |= set(reattached)
    if placed is not None:
        stamp, op, device, payload = placed
        (place,) = ops.decode(payload)
        assert isinstance(place, Place)
        file.placed = (stamp, op, device, place)
    for op, device, hlc, stamp, payload, answers in holds:
        (said,) = ops.decode(payload)
        assert isinstance(said, Hold)
        known = {each.device: each for each in (Answered(*fields) for fields in answers)}
        file.holds[device] = Held(op, device, hlc, stamp, said, known)
    if program is not None:
        stamp, op, payload = program
        (registered,) = ops.decode(payload)
        assert isinstance(registered, Register)
        file.program = (stamp, op, registered)


def _version_of(value: codec.Value) -> Version:
    *before, content, mergeable, size_bytes, digest, records, added, deleted = value
    chunked = None if content is None else Chunked(*content)
    return Version(*[*before, chunked, mergeable, size_bytes, digest, records, added, deleted])


def _part(entry: Applied, files: codec.Value) -> Part:
    part = Part(
        entry.prev,
        entry.log,
        entry.stamp,
        tuple(operation for operation in entry.operations if isinstance(operation, Lines)),
    )
    return replace(part, lines=tuple(line for line in part.lines if line.file in files))
