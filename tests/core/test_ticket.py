"""Tickets: whatever is wrong with one, the error says which (B-TIC-3)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync import errors, limits
from p2psync.core import codec, crypto, ticket
from p2psync.core.ops import ROLES
from p2psync.core.ticket import Ticket, TicketPeer

_keys = st.integers(0, 255).map(lambda byte: bytes([byte]) * 32)
_peers = st.lists(
    st.builds(TicketPeer, _keys, st.lists(st.text(max_size=30), max_size=3).map(tuple)), max_size=4
).map(tuple)
tickets = st.builds(
    Ticket,
    _keys,
    _keys,
    _keys,
    _keys,
    st.text(max_size=50),
    st.sampled_from(ROLES),
    st.integers(0, (1 << 63) - 1),
    st.integers(1, limits.INVITATION_USES_MAX),
    _peers,
    _peers,
)
USUAL = Ticket(
    b"m" * 32,
    b"g" * 32,
    b"e" * 32,
    b"a" * 32,
    "Dupont SA",
    "writer",
    1_800_000_000_000,
    1,
    (TicketPeer(b"d" * 32, ("/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::7/tcp/4001")),),
    (TicketPeer(b"r" * 32, ("/dns4/relay.example/tcp/4001",)),),
)
SALT = bytes(range(16))
WORDS = "loda bemi tuka zore jifa mene"
OPEN = ticket.encode(USUAL)
SEALED = ticket.seal(USUAL, WORDS, SALT)


@given(tickets)
def test_what_is_written_is_read(value: Ticket) -> None:
    data = ticket.encode(value)
    assert not ticket.is_sealed(data)
    assert ticket.read(data) == value


@settings(max_examples=5, deadline=None)
@given(tickets, st.text(min_size=1).filter(ticket.normalise_passphrase))
def test_what_is_sealed_is_read_with_the_passphrase(value: Ticket, passphrase: str) -> None:
    data = ticket.seal(value, passphrase, SALT)
    assert ticket.is_sealed(data)
    assert ticket.read(data, passphrase) == value


def test_sizes_of_usual_tickets() -> None:
    assert 300 <= len(OPEN) <= 1000
    assert 300 <= len(SEALED) <= 1000


def test_a_ticket_is_text_and_an_unsealed_one_tells_how_to_carry_it() -> None:
    """B-TIC-2."""
    assert OPEN.isascii()
    assert b"physical medium" in OPEN
    assert b"physical medium" not in SEALED
    assert max(map(len, OPEN.splitlines())) <= 100


def test_a_sealed_ticket_shows_none_of_its_secrets() -> None:
    body = ticket._unarmour(SEALED)[1]
    for secret in (USUAL.epoch_key, USUAL.admission_seed, USUAL.mandate, b"Dupont"):
        assert secret not in body
    assert "eeee" not in repr(USUAL)
    assert "aaaa" not in repr(USUAL)


@pytest.mark.parametrize("typed", [WORDS.upper(), WORDS.replace(" ", "-"), f" {WORDS}\n"])
def test_the_passphrase_may_be_typed_in_many_ways(typed: str) -> None:
    assert ticket.read(SEALED, typed) == USUAL


@pytest.mark.parametrize("phrase", ["Crème brûlée – été", "пароль", "密码", "🔑 🗝️", "\ud800x"])
def test_unicode_passphrases(phrase: str) -> None:
    assert ticket.read(ticket.seal(USUAL, phrase, SALT), phrase.upper()) == USUAL


def test_a_missing_a_wrong_and_an_empty_passphrase() -> None:
    with pytest.raises(errors.TicketPassphraseNeeded):
        ticket.read(SEALED)
    with pytest.raises(errors.TicketPassphraseWrong):
        ticket.read(SEALED, "loda bemi tuka zore jifa mena")
    with pytest.raises(errors.TicketPassphraseWrong):
        ticket.read(SEALED, "")
    with pytest.raises(errors.UsageError):
        ticket.seal(USUAL, " - ", SALT)


@pytest.mark.parametrize("data", [OPEN, SEALED], ids=["open", "sealed"])
def test_every_truncation_is_called_one(data: bytes) -> None:
    for length in range(len(data) - 1):  # all but the last line end
        with pytest.raises(errors.TicketTruncated):
            ticket.read(data[:length], WORDS)
    assert ticket.is_sealed(data[:-1]) == (data is SEALED)


@pytest.mark.parametrize("data", [OPEN, SEALED], ids=["open", "sealed"])
def test_every_flipped_bit_is_noticed(data: bytes) -> None:
    first_line = data.index(b"\n")
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.TicketError) as caught:
            ticket.read(bytes(flipped), WORDS)
        if bit // 8 > first_line:
            assert type(caught.value) is errors.TicketAltered


@given(st.integers(0, len(OPEN) - 1), st.integers(1, 40))
def test_a_piece_missing_in_the_middle_is_noticed(at: int, count: int) -> None:
    damaged = OPEN[:at] + OPEN[at + count :]
    if damaged != OPEN[:-1]:
        with pytest.raises(errors.TicketError):
            ticket.read(damaged)


def test_mail_programs_may_change_line_ends() -> None:
    assert ticket.read(OPEN.replace(b"\n", b"\r\n")) == USUAL
    assert ticket.read(b"\xef\xbb\xbf\r\n" + OPEN + b"\n\n") == USUAL


def test_a_ticket_of_another_version() -> None:
    with pytest.raises(errors.TicketVersion) as caught:
        ticket.read(b"p2psync ticket 2 quantum\nwhatever\n")
    assert caught.value.params == {"version": "2", "known": "1"}


def test_too_large_and_empty() -> None:
    with pytest.raises(errors.TicketTooLarge):
        ticket.read(OPEN + b"#" * (1 << 20))
    with pytest.raises(errors.TicketTruncated):
        ticket.read(b"")


@given(st.binary(max_size=300))
def test_any_other_file_is_no_ticket(data: bytes) -> None:
    with pytest.raises(errors.TicketError):
        ticket.read(data, WORDS)


@given(st.binary(max_size=100))
def test_a_rightly_armoured_body_of_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(errors.TicketAltered):
        ticket.read(ticket._armour("open", (), body))


@pytest.mark.parametrize(
    ("operations", "kib"),
    [(0, 64), (255, 64), (limits.ARGON2_OPERATIONS_MAX + 1, 8), (1, 0), (1, 7), (1, (1 << 32) - 1),
     (1, limits.ARGON2_MEMORY_BYTES_MAX // 1024 + 1)],
)  # fmt: skip
def test_hostile_costs_are_refused_before_they_are_paid(
    operations: int, kib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paid(*_: object) -> bytes:
        raise AssertionError("hashed with hostile parameters")

    monkeypatch.setattr(crypto, "stretch", paid)
    body = SALT + bytes([operations]) + kib.to_bytes(4, "big") + bytes(200)
    with pytest.raises(errors.TicketAltered):
        ticket.read(ticket._armour("sealed", (), body), WORDS)


def test_a_sealed_ticket_cannot_open_under_two_passphrases() -> None:
    """The commitment is checked before the seal: key commitment."""
    body = bytearray(ticket._unarmour(SEALED)[1])
    body[-1] ^= 1
    with pytest.raises(errors.TicketAltered):
        ticket.read(ticket._armour("sealed", (), bytes(body)), WORDS)
    body[crypto.SALT_BYTES + 5] ^= 1
    with pytest.raises(errors.TicketPassphraseWrong):
        ticket.read(ticket._armour("sealed", (), bytes(body)), WORDS)


@pytest.mark.parametrize(
    "change",
    [
        {"mandate": b"short"},
        {"role": "king"},
        {"uses": 0},
        {"uses": limits.INVITATION_USES_MAX + 1},
        {"expires_ms": -1},
        {"name": "x" * (limits.NAME_BYTES_MAX + 1)},
        {"peers": (TicketPeer(b"d" * 32, ()),) * (limits.TICKET_PEERS_MAX + 1)},
        {"relays": (TicketPeer(b"d" * 31, ()),)},
    ],
)
def test_fields_out_of_bounds_are_refused_on_both_sides(change: dict[str, object]) -> None:
    fields = {name: getattr(USUAL, name) for name in Ticket.__dataclass_fields__} | change
    bad = Ticket(**fields)
    with pytest.raises(ValueError):
        ticket.encode(bad)
    body = codec.pack(ticket._ticket.dump(bad))
    with pytest.raises(errors.TicketAltered):
        ticket.read(ticket._armour("open", (), body))


def test_more_addresses_than_fit_are_refused_when_it_is_made() -> None:
    peer = TicketPeer(b"d" * 32, ("x" * limits.ADDRESS_BYTES_MAX,) * 8)
    full = {name: getattr(USUAL, name) for name in Ticket.__dataclass_fields__}
    with pytest.raises(errors.TicketTooLarge):
        ticket.encode(Ticket(**full | {"peers": (peer,) * 8, "relays": (peer,) * 8}))


def test_expiry() -> None:
    ticket.check_expiry(USUAL, USUAL.expires_ms - 1)
    with pytest.raises(errors.TicketExpired) as caught:
        ticket.check_expiry(USUAL, USUAL.expires_ms)
    assert "2027-01-15" in caught.value.text
