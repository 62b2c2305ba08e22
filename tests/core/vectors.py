"""Writes ``tests/vectors/``: the bytes of every form in the core, field by field.

A line is hexadecimal bytes, then ``#`` and what they are. A section starts with ``[name]``; its
bytes are those of all its lines. Nothing here is random, so that a rewrite without a change of form
changes nothing. ``scripts/vectors`` runs this.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from p2psync.core import codec, crypto, entry, epochs, membership, ops, ticket, words
from p2psync.core.entry import LogKey
from p2psync.core.ticket import Ticket, TicketPeer

DIRECTORY = Path(__file__).parent.parent / "vectors"

DEVICE = crypto.SigningKey.from_seed(bytes(range(0x20)))
LOG = LogKey(crypto.SigningKey.from_seed(bytes(range(0x20, 0x40))))
NEWCOMER = crypto.SigningKey.from_seed(bytes(range(0x40, 0x60)))
ADMISSION_SEED = bytes(range(0x60, 0x80))
ADMISSION = crypto.SigningKey.from_seed(ADMISSION_SEED)
EPOCH_KEY = bytes(range(0x80, 0xA0))
ENTROPY = bytes(range(0xA0, 0xC0))
SALT = bytes(range(0xC0, 0xD0))
FILE = bytes(range(0xD0, 0xE0))
NEXT_KEY, EPHEMERAL = b"\xe1" * 32, b"\xe2" * 32
ENTRY_A, ENTRY_B = b"\xaa" * 32, b"\xbb" * 32
KEY_1, KEY_2 = b"\x11" * 16, b"\x22" * 16
MANDATE = membership.mandate_id(DEVICE.public, SALT)
PASSPHRASE = "loda bemi tuka zore jifa mene"

# What each field is called; a tuple stands for the fields of the arrays inside.
Names = Sequence[Any]
_REFERENCES = ("entry", "runs of indexes, as gap, length, …")
_TAKEN = ("file", ("elements", _REFERENCES), "keys, 16 bytes each")
OPERATIONS: list[tuple[ops.Operation, Names]] = [
    (ops.Create(DEVICE.public, SALT, "Dupont SA"), ("device", "salt", "name")),
    (
        ops.OpenLog(DEVICE.public, 0, membership.certify_log(DEVICE, MANDATE, LOG.log, 0)),
        ("device", "incarnation", "certificate"),
    ),
    (ops.Describe("Anne", "office-pc"), ("name", "machine")),
    (
        ops.Invite(ADMISSION.public, "writer", 1_800_000_000_000, 1),
        ("invitation", "role", "expires, ms since 1970", "uses"),
    ),
    (ops.Revoke(ADMISSION.public), ("invitation",)),
    (membership.redeem(ADMISSION_SEED, MANDATE, NEWCOMER.public), ("invitation", "proof")),
    (ops.Admit(NEWCOMER.public, ADMISSION.public), ("device", "invitation")),
    (ops.SetRole(NEWCOMER.public, "reader"), ("device", "role")),
    (ops.Remove(NEWCOMER.public, (ENTRY_A,)), ("device", ("cut", "head"))),
    (
        ops.Readmit(NEWCOMER.public, ((ENTRY_A, 0),)),
        ("device", ("removals", _REFERENCES)),
    ),
    (
        ops.Rotate(
            entry.epoch_id(NEXT_KEY),
            (epochs.seal_to(DEVICE.public, NEXT_KEY, MANDATE, EPHEMERAL),),
            epochs.seal_before(NEXT_KEY, EPOCH_KEY, MANDATE),
        ),
        ("epoch", ("keys", ("device", "sealed")), "the key before"),
    ),
    (ops.Share(), ()),
    (ops.Rename("Dupont & fils SA"), ("name",)),
    (ops.ClaimSeat(1), ("term",)),
    (ops.HandSeat(2, NEWCOMER.public), ("term", "device")),
    (ops.Observe(), ()),
    (
        ops.AddFile(FILE, "fact.ecf", "invoicing", "ecf", "C:\\Compta", None, 739_617, 739_981),
        ("file", "name", "kind", "format", "folder", "follows", "period from", "period to"),
    ),
    (ops.Detach(FILE, ((ENTRY_A, 0),)), ("file", ("versions", _REFERENCES))),
    (ops.Reattach(FILE, ((ENTRY_B, 1),)), ("file", ("detaches", _REFERENCES))),
    (ops.Place(FILE, "fact-2.ecf", "C:\\Compta"), ("file", "name", "folder")),
    (ops.Expect(FILE, 7 * 86_400), ("file", "seconds")),
    (
        ops.Register(FILE, "Factures", "13.4", "valid"),
        ("file", "program", "version", "licence"),
    ),
    (ops.Close(), ()),
    (ops.Reopen(((ENTRY_A, 0),)), (("closes", _REFERENCES),)),
    (ops.Leave(), ()),
    (ops.Return(), ()),
    (
        ops.Policy(True, False, True, (ops.Minimum("Factures", "13.0"),)),
        (
            "trial refused",
            "no right to updates refused",
            "unknown refused",
            ("minimums", ("program", "version")),
        ),
    ),
    (
        ops.SetRelay(
            NEWCOMER.public, ("/dns4/relay.example.ch/tcp/4001/p2p/12D3KooW",), ((ENTRY_A, 0),)
        ),
        ("relay", ("addresses", "address"), ("replaces", _REFERENCES)),
    ),
    (
        ops.Hold(FILE, b"\xdd" * 32, 9_000, 120, 60, 1, 59, 0, "1234.50", 739_617, 739_700),
        (
            "file",
            "BLAKE3 of what waits",
            "bytes before",
            "bytes after",
            "records before",
            "records after",
            "records deleted",
            "records added",
            "sum of the deleted amounts",
            "first day",
            "last day",
        ),
    ),
    (ops.Answer(FILE, ((ENTRY_A, 0),), "refused"), ("file", ("hold", _REFERENCES), "verdict")),
    (
        ops.Lines(
            FILE,
            (ops.Run(b"\x40\x00\x00\x00log1", (b"line 1\r\n", b"line 2\r\n")),),
            ops.Edits(((ENTRY_A, 7),), (b"edited\r\n",)),
            ((ENTRY_A, 0), (ENTRY_A, 1), (ENTRY_A, 2), (ENTRY_A, 7), (ENTRY_B, 5)),
        ),
        (
            "file",
            ("adds", ("base", ("raws", "segment"))),
            ("edits", ("elements", _REFERENCES), ("raws", "segment")),
            ("removes", _REFERENCES),
        ),
    ),
    (
        ops.Save(FILE, ((ENTRY_A, 1),), (ENTRY_B,), None, True, 24, b"\xdd" * 32),
        (
            "file",
            ("parents", _REFERENCES),
            ("parts", "entry"),
            "content",
            "mergeable",
            "size in bytes",
            "BLAKE3 of the file",
        ),
    ),
    (
        ops.Save(FILE, (), (), ops.Chunked(False, b"\xad" * 32 + b"\xd1" * 32), False, 9, ENTRY_A),
        (
            "file",
            ("parents",),
            ("parts",),
            ("content", "indirect", "address and digest of each chunk"),
            "mergeable",
            "size in bytes",
            "BLAKE3 of the file",
        ),
    ),
    (
        ops.Post(
            1,
            (ops.Taken(FILE, ((ENTRY_A, 3), (ENTRY_A, 4)), KEY_1 + KEY_2),),
            (ops.Taken(FILE, ((ENTRY_B, 0),), KEY_1),),
            2,
            1,
        ),
        ("term", ("adds", _TAKEN), ("drops", _TAKEN), "records added", "records deleted"),
    ),
    (ops.Unpost(((ENTRY_A, 0),)), (("receipts", _REFERENCES),)),
]
TICKET = Ticket(
    MANDATE,
    ENTRY_A,
    EPOCH_KEY,
    ADMISSION_SEED,
    "Dupont SA",
    "writer",
    1_800_000_000_000,
    1,
    (TicketPeer(DEVICE.public, ("/ip4/192.0.2.7/tcp/4001",)),),
    (TicketPeer(NEWCOMER.public, ("/dns4/relay.example/tcp/4001",)),),
)
_PEERS = ("device", ("addresses", "address"))
TICKET_NAMES: Names = (
    "mandate",
    "genesis: the id of the mandate's first entry",
    "epoch key",
    "admission seed",
    "name",
    "role",
    "expires, ms since 1970",
    "uses",
    ("peers", _PEERS),
    ("relays", _PEERS),
)


def plain(name: str, data: bytes, depth: int = 0) -> Iterator[str]:
    """Lines of at most 32 bytes, the first with the name."""
    pad = "  " * depth
    for at in range(0, max(len(data), 1), 32):
        note = name if at == 0 else "…"
        yield f"{pad}{data[at : at + 32].hex():<66}# {note}"


def annotate(value: Any, label: str, depth: int = 0) -> Iterator[str]:
    """The canonical bytes of a value, and what it is."""
    packed = codec.pack(value)
    if isinstance(value, tuple):
        yield from plain(f"{label}: {', '.join(map(str, value))}", packed, depth)
    elif isinstance(value, bytes):
        yield from plain(f"{label}, {len(value)} bytes", packed[: len(packed) - len(value)], depth)
        if value:
            yield from plain("…", value, depth)
    else:
        yield from plain(f"{label}: {value!r}", packed, depth)


def fields(value: tuple[Any, ...], names: Sequence[Any], depth: int = 0) -> Iterator[str]:
    """The fields of one array whose own first bytes are written already."""
    for item, name in zip(value, names, strict=True):
        if isinstance(name, str):
            yield from annotate(item, name, depth)
            continue
        label, *rest = name
        packed = codec.pack(item)
        if not isinstance(item, tuple):
            yield from annotate(item, label, depth)
            continue
        head = packed[: len(packed) - sum(len(codec.pack(each)) for each in item)]
        yield from plain(f"{label}, {len(item)}", head, depth)
        if label in ("edits", "content"):
            yield from fields(item, rest, depth + 1)
            continue
        for each in item:
            if isinstance(rest[0], str):
                yield from annotate(each, rest[0], depth + 1)
            else:
                inner = codec.pack(each)
                start = len(inner) - sum(len(codec.pack(part)) for part in each)
                yield from plain(f"array of {len(each)}", inner[:start], depth + 1)
                yield from fields(each, _fit(rest[0], each), depth + 2)


def _fit(names: Sequence[Any], value: tuple[Any, ...]) -> list[Any]:
    """One name for each item: the last one again where there are more items."""
    return [names[min(place, len(names) - 1)] for place in range(len(value))]


def section(name: str, *lines: str) -> str:
    """One section."""
    return "\n".join([f"[{name}]", *lines, ""])


def array(data: bytes, names: Sequence[Any], first: str) -> list[str]:
    """The lines of one canonical array."""
    value = codec.unpack(data, len(data))
    head = data[: len(data) - sum(len(codec.pack(item)) for item in value)]
    return [*plain(f"{first}, {len(value)}", head), *fields(value, names, 1)]


def operations() -> str:
    """The payload of an entry with one operation, for each operation."""
    out = ["# Payloads of one operation each. docs/spec/operations.md\n"]
    seen: dict[str, int] = {}
    for operation, names in OPERATIONS:
        payload = ops.encode([operation])
        (value,) = codec.unpack(payload, len(payload))
        name = type(operation).__name__
        seen[name] = seen.get(name, 0) + 1
        lines = [
            *plain("one operation", payload[:1]),
            *plain(f"{name}, array of {len(value)}", codec.pack(value)[:1], 1),
            *fields(value, ["code", *names], 2),
        ]
        out.append(section(name if seen[name] == 1 else f"{name} {seen[name]}", *lines))
    return "\n".join(out)


def entries() -> str:
    """One entry, and all that it is made from."""
    payload = ops.encode([ops.Rename("Dupont SA")])
    made = entry.build(
        LOG,
        mandate=MANDATE,
        seq=3,
        prev=ENTRY_A,
        deps=[ENTRY_B],
        hlc=(1_800_000_000_000 << 16) + 1,
        epoch_key=EPOCH_KEY,
        payload=payload,
        entropy=ENTROPY,
    )
    header = array(
        made.header_bytes,
        (
            "version", "mandate", "log", "seq", "prev", ("deps", "id"), "time",
            "epoch", "length of the sealed payload",
        ),
        "header",
    )  # fmt: skip
    return "\n".join(
        [
            "# One entry, and what it is made from. docs/spec/entry.md\n",
            section("log seed", *plain("Ed25519 seed of the log", LOG.signing.seed)),
            section("epoch key", *plain("", EPOCH_KEY)),
            section("entropy", *plain("fresh randomness", ENTROPY)),
            section("payload", *plain("one operation: Rename", payload)),
            section("header", *header),
            section("nonce key", *plain("of the log", LOG.nonce_key)),
            section("nonce", *plain("hedged", made.nonce)),
            section("payload key", *plain("of this log", entry.payload_key(EPOCH_KEY, LOG.log))),
            section("sealed", *plain("payload, then tag", made.ciphertext)),
            section("id", *plain("of header, nonce and sealed payload", made.id)),
            section("signature", *plain("of the id, by the log's key", made.signature)),
            section(
                "entry",
                *array(made.raw, ("header", "nonce", "sealed payload", "signature"), "entry"),
            ),
        ]
    )


def derivations() -> str:
    """Identities, certificates, proofs and derived keys."""
    certificate = membership.certify_log(DEVICE, MANDATE, LOG.log, 1)
    proof = membership.redeem(ADMISSION_SEED, MANDATE, NEWCOMER.public)
    sealed, plain_digest = crypto.seal_chunk(EPOCH_KEY, b"chunk")
    return "\n".join(
        [
            "# Identities, certificates and keys. docs/spec/entry.md, docs/spec/membership.md\n",
            section("device seed", *plain("Ed25519 seed", DEVICE.seed)),
            section("device", *plain("its public key", DEVICE.public)),
            section("salt", *plain("of the mandate", SALT)),
            section("mandate", *plain("its id", MANDATE)),
            section("log", *plain("its public key", LOG.log)),
            section("certificate", *plain("of the log, incarnation 1", certificate)),
            section("admission seed", *plain("in the ticket", ADMISSION_SEED)),
            section("invitation", *plain("its public key", ADMISSION.public)),
            section("newcomer", *plain("public key of a device", NEWCOMER.public)),
            section("proof", *plain("that the newcomer holds the ticket", proof.proof)),
            section("epoch key", *plain("", EPOCH_KEY)),
            section("epoch", *plain("its public name", entry.epoch_id(EPOCH_KEY))),
            section("next epoch key", *plain("of the epoch after", NEXT_KEY)),
            section("ephemeral", *plain("X25519 secret, used once", EPHEMERAL)),
            section(
                "sealed key",
                *plain(
                    "the next epoch key, sealed to the device",
                    epochs.seal_to(DEVICE.public, NEXT_KEY, MANDATE, EPHEMERAL).sealed,
                ),
            ),
            section(
                "key before",
                *plain(
                    "the epoch key, under the next",
                    epochs.seal_before(NEXT_KEY, EPOCH_KEY, MANDATE),
                ),
            ),
            section("chunk plaintext", *plain("ASCII chunk", b"chunk")),
            section("chunk digest", *plain("BLAKE3 of the plaintext", plain_digest)),
            section("chunk", *plain("sealed under the epoch key as secret", sealed)),
            section("chunk address", *plain("", crypto.chunk_address(sealed))),
            section("key phrase", *plain("of the device, ASCII", _phrase())),
            section("passphrase", *plain("of nine bytes 00 to 08, ASCII", _spelt())),
        ]
    )


def _phrase() -> bytes:
    return words.key_phrase(DEVICE.public).encode()


def _spelt() -> bytes:
    return words.passphrase(bytes(range(9))).encode()


def tickets() -> dict[str, bytes]:
    """The ticket's content, and both files made of it."""
    body = ticket._pack(TICKET)
    sealed = ticket._unarmour(ticket.seal(TICKET, PASSPHRASE, SALT))[1]
    head = crypto.PASSPHRASE_HEAD_BYTES
    text = "\n".join(
        [
            "# A ticket's content, and how it is sealed. docs/spec/ticket.md",
            "# ticket-open.crsync and ticket-sealed.crsync hold it in armour.\n",
            section("content", *array(body, TICKET_NAMES, "ticket")),
            section("passphrase", *plain("ASCII", PASSPHRASE.encode())),
            section(
                "sealed",
                *plain("salt", sealed[:16]),
                *plain("argon2id: passes", sealed[16:17]),
                *plain("argon2id: memory, KiB", sealed[17:21]),
                *plain("commitment", sealed[21:head]),
                *plain("sealed content, then tag", sealed[head:]),
            ),
        ]
    )
    return {
        "ticket.txt": text.encode(),
        "ticket-open.crsync": ticket.encode(TICKET),
        "ticket-sealed.crsync": ticket.seal(TICKET, PASSPHRASE, SALT),
    }


def build() -> dict[str, bytes]:
    """All files, by name."""
    return {
        "entry.txt": entries().encode(),
        "operations.txt": operations().encode(),
        "derivations.txt": derivations().encode(),
        **tickets(),
    }


def main() -> None:
    """Rewrite the files."""
    for name, data in build().items():
        (DIRECTORY / name).write_bytes(data)


if __name__ == "__main__":
    main()
