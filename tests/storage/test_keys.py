"""The device key file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.errors import (
    IdentityLocked,
    IdentityPassphraseWrong,
    KeyDamaged,
    KeyExists,
    KeyExposed,
    KeyMissing,
    NotARegularFile,
    TargetChanged,
)
from p2psync.storage.keys import (
    PlainKey,
    SealedKey,
    create_device_key,
    load_device_key,
    open_key,
    reseal_device_key,
    seal_key,
)

KEY = PlainKey(bytes(range(32)))


def seal(passphrase: str, plaintext: bytes) -> bytes:
    """A fake seal: the passphrase, readable, before the plaintext."""
    return passphrase.encode() + b"|" + plaintext


def unseal(passphrase: str, box: bytes) -> bytes | None:
    used, _, plaintext = box.partition(b"|")
    return plaintext if used == passphrase.encode() else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.key"


@pytest.mark.parametrize("key", [KEY, SealedKey(b"opaque"), SealedKey(os.urandom(137))])
def test_a_key_comes_back_as_it_was_stored(path: Path, key: PlainKey | SealedKey) -> None:
    create_device_key(path, key)
    assert load_device_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["device.key"]


def test_the_stored_form_is_this(path: Path) -> None:
    create_device_key(path, KEY)
    assert path.read_text() == (
        "p2psync device key 1\n"
        "plain\n"
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "4b330dd454662012\n"
    )


def test_a_key_is_never_overwritten(path: Path) -> None:
    path.write_bytes(b"not even a key")
    with pytest.raises(KeyExists, match=r"device\.key"):
        create_device_key(path, KEY)
    assert path.read_bytes() == b"not even a key"


def test_a_missing_key_is_named(path: Path) -> None:
    with pytest.raises(KeyMissing, match=r"device\.key"):
        load_device_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_key_that_others_may_touch_is_refused_with_the_way_out(path: Path, mode: int) -> None:
    create_device_key(path, KEY)
    path.chmod(mode)
    with pytest.raises(KeyExposed) as refused:
        load_device_key(path)
    assert refused.value.hint == f"take the right away with: chmod 600 {path}"


def test_a_link_is_not_followed(path: Path) -> None:
    other = path.with_name("other")
    create_device_key(other, KEY)
    path.symlink_to(other)
    with pytest.raises(NotARegularFile):
        load_device_key(path)
    with pytest.raises(NotARegularFile):
        create_device_key(path, KEY)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_every_altered_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, position: int, change: int
) -> None:
    path = tmp_path_factory.mktemp("key") / "device.key"
    create_device_key(path, KEY)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= change
    path.write_bytes(data)
    with pytest.raises(KeyDamaged, match=r"device\.key"):
        load_device_key(path)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "cut off"),
        (b"p2psync device key 1\nplain\n", "cut off"),
        (b"\xff" * 100, "cut off or no device key"),
        (b"a\nb\nc\nd\n", "no device key"),
        (b"p2psync device key 2\nb\nc\nd\n", "newer p2psync"),
        (b"x" * 5000, "too large"),
    ],
)
def test_a_damaged_key_says_what_is_wrong(path: Path, content: bytes, cause: str) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyDamaged, match=cause):
        load_device_key(path)


def test_a_sealed_key_opens_with_its_passphrase_alone() -> None:
    """B-ID-1."""
    sealed = seal_key(KEY, "six words", seal)
    assert open_key(sealed, "six words", unseal) == KEY
    assert open_key(KEY, None, unseal) == KEY
    with pytest.raises(IdentityLocked):
        open_key(sealed, None, unseal)
    with pytest.raises(IdentityPassphraseWrong):
        open_key(sealed, "other words", unseal)


def test_a_passphrase_is_added_changed_and_removed(path: Path) -> None:
    sealed = seal_key(KEY, "one", seal)
    other = seal_key(KEY, "two", seal)
    create_device_key(path, KEY)
    for known, new in ((KEY, sealed), (sealed, other), (other, KEY)):
        reseal_device_key(path, known, new)
        assert load_device_key(path) == new
    with pytest.raises(TargetChanged):
        reseal_device_key(path, sealed, other)
    assert load_device_key(path) == KEY


def test_secrets_are_not_printed() -> None:
    assert "\\x01" not in repr(KEY)
    assert "opaque" not in repr(SealedKey(b"opaque"))
