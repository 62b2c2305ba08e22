"""Entries: built, read, covered by a signature; nothing in them can be changed unseen."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import codec, crypto, entry
from p2psync.core.entry import Entry, LogKey
from p2psync.errors import CodecError, CryptoError, EntryError
from p2psync.limits import ENTRY_BYTES_MAX, ENTRY_DEPS_MAX
from tests.strategies import keys

KEY = LogKey(crypto.SigningKey.from_seed(b"l" * 32))
EPOCH_KEY = b"e" * 32


def make(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "mandate": b"m" * 32,
        "seq": 1,
        "prev": b"p" * 32,
        "deps": [b"b" * 32, b"a" * 32],
        "hlc": 12345,
        "epoch_key": EPOCH_KEY,
        "payload": b"payload",
        "entropy": b"r" * 32,
    }
    return entry.build(KEY, **fields | changes)


@given(
    st.integers(0, entry.SEQ_MAX),
    st.sets(keys, max_size=ENTRY_DEPS_MAX),
    st.integers(0, (1 << 63) - 1),
    st.binary(max_size=200),
    st.booleans(),
)
def test_what_is_built_is_read(
    seq: int, deps: set[bytes], hlc: int, payload: bytes, sign: bool
) -> None:
    prev = b"p" * 32 if seq else b""
    made = make(seq=seq, prev=prev, deps=deps - {prev}, hlc=hlc, payload=payload, sign=sign)
    read = entry.decode(made.raw)
    assert read == made
    assert entry.open_payload(read, EPOCH_KEY) == payload
    assert entry.signature_holds(read) == sign
    assert (read.log, read.seq) == (KEY.log, seq)


def test_every_flipped_bit_is_noticed() -> None:
    """It does not decode, has another id, or its signature does not hold."""
    made = make()
    for bit in range(8 * len(made.raw)):
        flipped = bytearray(made.raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read = entry.decode(bytes(flipped))
        except (CodecError, EntryError):
            continue
        assert not entry.signature_holds(read)
        assert read.id != made.id or read.signature != made.signature
        if read.id != made.id:
            with pytest.raises(CryptoError):
                entry.open_payload(read, EPOCH_KEY)


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises((CodecError, EntryError)):
        entry.decode(data)


_GOOD: list[Any] = [
    1, b"m" * 32, KEY.log, 1, b"p" * 32, [b"a" * 32], 5, b"e" * 16, 16
]  # fmt: skip


def _wrap(header: Any, nonce: Any = bytes(24), sealed: Any = bytes(16), sig: Any = b"") -> bytes:
    return codec.pack([codec.pack(header), nonce, sealed, sig])


def test_the_header_that_the_next_test_spoils_is_good() -> None:
    assert entry.decode(_wrap(_GOOD)).header.seq == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 0), (0, 2), (0, True), (0, b"1"),
        (1, b"m" * 31), (1, "m" * 32),
        (2, b""), (2, b"l" * 33),
        (3, -1), (3, 0), (3, 1 << 48), (3, True),
        (4, b""), (4, b"p" * 31), (4, None),
        (5, [b"a" * 31]), (5, [b"a" * 32] * 2), (5, [b"b" * 32, b"a" * 32]), (5, [b"p" * 32]),
        (5, [bytes([place]) * 32 for place in range(ENTRY_DEPS_MAX + 1)]), (5, b""),
        (6, -1), (6, None), (6, True),
        (7, b"e" * 15), (7, "e" * 16),
        (8, 15), (8, 17), (8, -1), (8, True), (8, (1 << 63) - 1),
    ],
)  # fmt: skip
def test_a_header_that_breaks_a_rule(place: int, value: Any) -> None:
    header = [*_GOOD]
    header[place] = value
    with pytest.raises(EntryError):
        entry.decode(_wrap(header))


@pytest.mark.parametrize(
    "raw",
    [
        _wrap(_GOOD[:-1]),
        _wrap([*_GOOD, 0]),
        _wrap(7),
        _wrap(_GOOD, nonce=bytes(23)),
        _wrap(_GOOD, sig=bytes(63)),
        _wrap(_GOOD, sig=None),
        _wrap(_GOOD, sealed="text"),
        _wrap([*_GOOD[:-1], 15], sealed=bytes(15)),
        codec.pack([codec.pack(_GOOD), bytes(24), bytes(16)]),
        codec.pack([_GOOD, bytes(24), bytes(16), b""]),
        codec.pack(b"entry"),
    ],
)
def test_an_entry_of_a_wrong_shape(raw: bytes) -> None:
    with pytest.raises(EntryError):
        entry.decode(raw)


def test_the_first_of_a_log_has_no_prev() -> None:
    header = [*_GOOD]
    header[3], header[4] = 0, b""
    assert entry.decode(_wrap(header)).header.prev == b""


def test_size_is_bounded_on_both_sides() -> None:
    with pytest.raises(EntryError):
        make(payload=bytes(ENTRY_BYTES_MAX))
    with pytest.raises(CodecError):
        entry.decode(bytes(ENTRY_BYTES_MAX + 1))


def test_an_entry_that_no_peer_would_read_is_not_signed() -> None:
    """A log that continued behind such an entry would be lost to everyone else."""
    with pytest.raises(EntryError):
        make(deps=[bytes([place]) * 32 for place in range(ENTRY_DEPS_MAX + 1)])
    with pytest.raises(EntryError):
        make(deps=[b"a" * 32, b"a" * 32])
    with pytest.raises(EntryError):
        make(seq=0)


def _chain(signed: list[bool]) -> list[Entry]:
    chain: list[Entry] = []
    for seq, sign in enumerate(signed):
        prev = chain[-1].id if chain else b""
        chain.append(make(seq=seq, prev=prev, deps=[], sign=sign))
    return chain


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=8))
def test_a_signature_covers_all_before_it(signed: list[bool]) -> None:
    covered = entry.covered(_chain(signed))
    assert covered == max((place + 1 for place, sign in enumerate(signed) if sign), default=0)


def test_a_forged_signature_covers_nothing() -> None:
    chain = _chain([True, False, False])
    header, nonce, sealed, _ = codec.unpack(chain[2].raw, ENTRY_BYTES_MAX)
    forged = entry.decode(codec.pack([header, nonce, sealed, chain[0].signature]))
    assert forged.id == chain[2].id
    assert entry.covered([chain[0], chain[1], forged]) == 1


def test_nonces_are_hedged() -> None:
    """The same randomness twice, as on a cloned machine, gives one nonce only to one entry."""
    assert make().nonce == make().nonce
    others = [
        make(payload=b"other"),
        make(hlc=1),
        make(entropy=b"s" * 32),
        make(epoch_key=b"f" * 32),
        entry.build(
            LogKey(crypto.SigningKey.from_seed(b"k" * 32)),
            mandate=b"m" * 32, seq=1, prev=b"p" * 32, deps=[b"b" * 32, b"a" * 32], hlc=12345,
            epoch_key=EPOCH_KEY, payload=b"payload", entropy=b"r" * 32,
        ),
    ]  # fmt: skip
    assert len({made.nonce for made in [make(), *others]}) == 6


def test_another_epoch_key_opens_nothing() -> None:
    with pytest.raises(CryptoError):
        entry.open_payload(make(), b"f" * 32)
    assert make().header.epoch == entry.epoch_id(EPOCH_KEY)
    assert EPOCH_KEY[:16] not in make().raw


def test_each_log_seals_under_a_key_of_its_own() -> None:
    assert entry.payload_key(EPOCH_KEY, b"a" * 32) != entry.payload_key(EPOCH_KEY, b"b" * 32)


def test_a_log_key_does_not_show_its_secret() -> None:
    assert "llll" not in repr(KEY)


def test_what_one_operation_costs() -> None:
    assert len(make(deps=[], payload=bytes(30)).raw) <= 320
