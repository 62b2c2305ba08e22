"""The bytes in ``tests/vectors/`` are what the code writes, and what it reads."""

import pytest

from p2psync.core import codec, crypto, entry, epochs, membership, ops, ticket, words
from p2psync.core.entry import LogKey
from p2psync.core.ops import OpenLog, Redeem
from tests.core import vectors
from tests.core.vectors import DIRECTORY


def sections(name: str) -> dict[str, bytes]:
    """The bytes of each section of a file, read without the code that wrote it."""
    out: dict[str, str] = {}
    section = ""
    for line in (DIRECTORY / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            out[section] = ""
        elif section:
            out[section] += line.split("#")[0].strip()
    return {name: bytes.fromhex(digits) for name, digits in out.items()}


def test_the_files_are_what_the_code_writes() -> None:
    """After a deliberate change of form: scripts/vectors."""
    built = vectors.build()
    assert {path.name for path in DIRECTORY.iterdir()} == built.keys()
    for name, data in built.items():
        assert (DIRECTORY / name).read_bytes() == data, name


@pytest.mark.parametrize("name", sections("operations.txt"))
def test_each_operation_is_read(name: str) -> None:
    payload = sections("operations.txt")[name]
    (operation,) = ops.decode(payload)
    assert type(operation).__name__ == name.split()[0]
    assert ops.encode([operation]) == payload


def test_every_operation_has_its_bytes() -> None:
    codes = {codec.unpack(data, len(data))[0][0] for data in sections("operations.txt").values()}
    assert codes == set(ops._operations._kinds)


def test_the_entry_is_read_and_made_of_its_parts() -> None:
    part = sections("entry.txt")
    read = entry.decode(part["entry"])
    assert read.header_bytes == part["header"]
    assert read.header.seq == 3
    assert read.nonce == part["nonce"]
    assert read.ciphertext == part["sealed"]
    assert read.id == part["id"]
    assert read.signature == part["signature"]
    assert entry.signature_holds(read)
    assert entry.open_payload(read, part["epoch key"]) == part["payload"]


def test_the_entry_follows_from_the_specification_alone() -> None:
    """docs/spec/entry.md, step by step, with the primitives only."""
    part = sections("entry.txt")
    log = crypto.SigningKey.from_seed(part["log seed"])
    nonce_key = crypto.derive(log.seed, b"p2psync.nonce")
    assert nonce_key == part["nonce key"] == LogKey(log).nonce_key
    nonce = crypto.derive(
        nonce_key, b"p2psync.nonce", part["entropy"], part["header"], part["payload"], size=24
    )
    assert nonce == part["nonce"]
    key = crypto.derive(part["epoch key"], b"p2psync.payload", log.public)
    assert key == part["payload key"]
    sealed = crypto.seal(key, nonce, part["payload"], part["header"])
    assert sealed == part["sealed"]
    made = crypto.digest(b"p2psync.entry", part["header"], nonce, sealed)
    assert made == part["id"]
    assert log.sign(b"p2psync entry 1", made) == part["signature"]


def test_identities_and_derived_keys() -> None:
    part = sections("derivations.txt")
    device = crypto.SigningKey.from_seed(part["device seed"])
    assert device.public == part["device"]
    assert membership.mandate_id(device.public, part["salt"]) == part["mandate"]
    opened = OpenLog(device.public, 1, part["certificate"])
    assert membership.log_certified(opened, part["mandate"], part["log"])
    proof = Redeem(part["invitation"], part["proof"])
    assert membership.redeem_holds(proof, part["mandate"], part["newcomer"])
    assert membership.redeem(part["admission seed"], part["mandate"], part["newcomer"]) == proof
    assert entry.epoch_id(part["epoch key"]) == part["epoch"]
    after = entry.epoch_id(part["next epoch key"])
    opened_key = epochs.open_sealed(device, part["sealed key"], part["mandate"], after)
    assert opened_key == part["next epoch key"]
    before = epochs.open_before(opened_key, part["key before"], part["mandate"])
    assert before == part["epoch key"]
    assert crypto.content_digest(part["chunk plaintext"]) == part["chunk digest"]
    assert crypto.chunk_address(part["chunk"]) == part["chunk address"]
    opened_chunk = crypto.open_chunk(part["epoch key"], part["chunk digest"], part["chunk"])
    assert opened_chunk == part["chunk plaintext"]
    assert words.key_phrase(part["device"]).encode() == part["key phrase"]
    assert words.passphrase(bytes(range(9))).encode() == part["passphrase"]


def test_the_tickets_are_read() -> None:
    part = sections("ticket.txt")
    passphrase = part["passphrase"].decode()
    opened = ticket.read((DIRECTORY / "ticket-open.crsync").read_bytes())
    assert ticket.read((DIRECTORY / "ticket-sealed.crsync").read_bytes(), passphrase) == opened
    assert opened == vectors.TICKET
    assert codec.pack(ticket._ticket.dump(opened)) == part["content"]
    most = crypto.Stretch(3, 64 << 20)
    plain = crypto.unseal_with_passphrase(passphrase, part["sealed"], b"p2psync ticket 1", most)
    assert plain == part["content"]
