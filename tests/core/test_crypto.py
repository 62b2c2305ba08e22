"""Primitives against published vectors and independent implementations; domains apart."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from p2psync.core import crypto
from p2psync.errors import CryptoError
from p2psync.limits import CHUNK_BYTES
from tests.strategies import exactly

CHEAP = crypto.Stretch(1, 8192)


@pytest.mark.parametrize(
    ("seed", "public"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        ),
    ],
)
def test_key_pairs_of_rfc_8032(seed: str, public: str) -> None:
    key = crypto.SigningKey.from_seed(bytes.fromhex(seed))
    assert key.public.hex() == public
    expected = Ed25519PrivateKey.from_private_bytes(key.seed).sign(b"a domain\0a message")
    assert key.sign(b"a domain", b"a message") == expected


@given(exactly(32), st.binary(max_size=50), st.integers(0, 511))
def test_a_signature_holds_for_its_key_domain_and_message_alone(
    seed: bytes, message: bytes, bit: int
) -> None:
    key = crypto.SigningKey.from_seed(seed)
    signature = key.sign(b"one", message)
    assert crypto.verify(key.public, b"one", message, signature)
    assert not crypto.verify(key.public, b"two", message, signature)
    assert not crypto.verify(key.public, b"one", message + b"\0", signature)
    assert not crypto.verify(hashlib.sha256(key.public).digest(), b"one", message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not crypto.verify(key.public, b"one", message, bytes(flipped))


@pytest.mark.parametrize(("public", "signature"), [(0, 64), (31, 64), (32, 0), (32, 63), (32, 65)])
def test_keys_and_signatures_of_a_wrong_length_do_not_hold(public: int, signature: int) -> None:
    assert not crypto.verify(bytes(public), b"one", b"", bytes(signature))


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_weak_public_keys_hold_for_nothing(public: bytes) -> None:
    """With a key of small order one signature would hold for any message."""
    assert not crypto.verify(public, b"one", b"message", b"\x01" + bytes(63))


def test_a_seed_of_a_wrong_length_is_refused() -> None:
    with pytest.raises(CryptoError):
        crypto.SigningKey.from_seed(bytes(31))


def test_secrets_are_not_shown() -> None:
    key = crypto.SigningKey.from_seed(b"s" * 32)
    assert "73" * 8 not in repr(key)
    assert "ssss" not in repr(key)


def test_digests_of_the_specifications() -> None:
    """BLAKE2b of RFC 7693, appendix A; BLAKE3 of its reference test vectors."""
    assert crypto.digest(b"", b"a", b"bc", size=64).hex().startswith("ba80a53f981c4d0d6a2797b69f12")
    assert crypto.content_digest(b"").hex() == (
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    )


@given(exactly(32), st.binary(max_size=40))
def test_domains_keys_and_sizes_part_digests(key: bytes, data: bytes) -> None:
    made = {
        crypto.digest(b"one", data),
        crypto.digest(b"two", data),
        crypto.derive(key, b"one", data),
        crypto.derive(key, b"two", data),
        crypto.derive(key + b"\1", b"one", data),
        crypto.digest(b"one", data, size=33)[:32],
    }
    assert len(made) == 6


def test_xchacha20_poly1305_of_the_draft() -> None:
    """draft-irtf-cfrg-xchacha-03, A.3.1."""
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    sealed = crypto.seal(
        bytes(range(0x80, 0xA0)),
        bytes(range(0x40, 0x58)),
        plaintext,
        bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
    )
    assert sealed.hex() == (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49"
    )


@given(exactly(32), exactly(24), st.binary(max_size=60), st.binary(max_size=20), st.data())
def test_a_seal_opens_unaltered_only(
    key: bytes, nonce: bytes, plaintext: bytes, associated: bytes, data: st.DataObject
) -> None:
    sealed = crypto.seal(key, nonce, plaintext, associated)
    assert len(sealed) == len(plaintext) + crypto.SEAL_BYTES
    assert crypto.unseal(key, nonce, sealed, associated) == plaintext
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8
    for altered in (
        (key, nonce, bytes(flipped), associated),
        (key, nonce, sealed[:-1], associated),
        (key, nonce, sealed, associated + b"x"),
        (crypto.derive(key, b"x"), nonce, sealed, associated),
        (key, crypto.derive(nonce, b"x", size=24), sealed, associated),
        (key, nonce, b"", associated),
        (key, b"short", sealed, associated),
    ):
        with pytest.raises(CryptoError):
            crypto.unseal(*altered)


@given(exactly(32), st.binary(max_size=60))
def test_chunks(secret: bytes, plaintext: bytes) -> None:
    sealed, plain_digest = crypto.seal_chunk(secret, plaintext)
    assert plain_digest == crypto.content_digest(plaintext)
    key = crypto.derive(secret, b"p2psync.chunk", plain_digest)
    assert sealed == bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        (plaintext + b"\x80").ljust(256, b"\0"), None, bytes(12), key
    )
    assert crypto.open_chunk(secret, plain_digest, sealed) == plaintext
    assert crypto.chunk_address(sealed) == crypto.content_digest(sealed)
    for wrong in (
        (secret + b"\1", plain_digest, sealed),
        (secret, crypto.content_digest(b"other" + plaintext), sealed),
        (secret, plain_digest, sealed[:-1]),
        (secret, plain_digest, b""),
    ):
        with pytest.raises(CryptoError):
            crypto.open_chunk(*wrong)


@given(st.integers(0, CHUNK_BYTES), st.sampled_from([b"\0", b"\x80", b"x"]))
def test_the_padding_hides_the_size_and_comes_off(length: int, filling: bytes) -> None:
    padded = crypto.padded_bytes(length)
    assert max(length + 1, 256) <= padded <= max(256, (length + 1) * 1.12 + 1)
    assert padded <= CHUNK_BYTES + 1
    sealed, plain_digest = crypto.seal_chunk(b"s" * 32, filling * length)
    assert len(sealed) == padded + 16 <= crypto.SEALED_CHUNK_BYTES_MAX
    assert crypto.open_chunk(b"s" * 32, plain_digest, sealed) == filling * length


def test_few_sizes_are_told_apart() -> None:
    sizes = {crypto.padded_bytes(length) for length in range(CHUNK_BYTES + 1)}
    assert len(sizes) < 200


def test_a_chunk_sealed_with_a_digest_that_is_not_its_own_is_refused() -> None:
    claimed = crypto.content_digest(b"right")
    key = crypto.derive(b"s" * 32, b"p2psync.chunk", claimed)
    padded = b"wrong\x80".ljust(256, b"\0")
    forged = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(padded, None, bytes(12), key)
    with pytest.raises(CryptoError, match="something else"):
        crypto.open_chunk(b"s" * 32, claimed, forged)


def test_argon2id_as_another_implementation_computes_it() -> None:
    cost = crypto.Stretch(2, 64 * 1024)
    other = Argon2id(salt=b"s" * 16, length=32, iterations=2, lanes=1, memory_cost=64)
    assert crypto.stretch("pass", b"s" * 16, cost) == other.derive(b"pass")


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=10), st.binary(max_size=40), exactly(16))
def test_passphrase_seals(passphrase: str, plaintext: bytes, salt: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypto, "STRETCH", CHEAP)
        sealed = crypto.seal_with_passphrase(passphrase, plaintext, salt, b"one")
    assert crypto.unseal_with_passphrase(passphrase, sealed, b"one", CHEAP) == plaintext
    assert crypto.unseal_with_passphrase(passphrase + "x", sealed, b"one", CHEAP) is None
    assert crypto.unseal_with_passphrase(passphrase, sealed, b"two", CHEAP) is None
    with pytest.raises(CryptoError):
        crypto.unseal_with_passphrase(passphrase, sealed[:-1] + b"\0\0", b"one", CHEAP)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        bytes(16) + b"\x01" + (8).to_bytes(4, "big"),
        bytes(16) + b"\x00" + (8).to_bytes(4, "big") + bytes(48),
        bytes(16) + b"\x02" + (8).to_bytes(4, "big") + bytes(48),
        bytes(16) + b"\x01" + (7).to_bytes(4, "big") + bytes(48),
        bytes(16) + b"\x01" + (9).to_bytes(4, "big") + bytes(48),
        bytes(16) + b"\xff\xff\xff\xff\xff" + bytes(48),
    ],
)
def test_costs_out_of_bounds_are_refused_before_they_are_paid(head: bytes) -> None:
    with pytest.raises(CryptoError):
        crypto.unseal_with_passphrase("pass", head, b"one", CHEAP)
