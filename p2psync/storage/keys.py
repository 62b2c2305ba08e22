"""The device key file: created once, never overwritten, readable by its owner alone.

Text of four lines (docs/spec/storage.md, "Device key")::

    p2psync device key 1
    plain | sealed
    BASE64 of the Ed25519 seed (32 bytes), or of what sealing it under a passphrase gave
    16 hexadecimal digits: the beginning of BLAKE3 of the lines before, newlines included

The last line tells a damaged file from a wrong passphrase; it protects against nobody. Sealing is
the caller's: functions of ``core.crypto``, with fresh salt, passed in.
"""

import base64
import binascii
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from p2psync.core.crypto import SEED_BYTES, content_digest
from p2psync.errors import (
    FileAbsent,
    FileTooLarge,
    IdentityLocked,
    IdentityPassphraseWrong,
    KeyDamaged,
    KeyExists,
    KeyExposed,
    KeyMissing,
    TargetChanged,
)
from p2psync.limits import KEY_FILE_BYTES_MAX
from p2psync.storage.folder import Folder

Seal = Callable[[str, bytes], bytes]
"""Seals a plaintext (second) under a passphrase (first)."""
Unseal = Callable[[str, bytes], bytes | None]
"""The reverse; None when the passphrase is another one."""

_TITLE = "p2psync device key "
_VERSION = "1"
_CHECK_DIGITS = 16


@dataclass(frozen=True, slots=True, repr=False)
class PlainKey:
    """An Ed25519 seed (32 bytes) that is stored as it is."""

    seed: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SealedKey:
    """A seed sealed under a passphrase, opaque here."""

    box: bytes


StoredKey = PlainKey | SealedKey


def seal_key(key: PlainKey, passphrase: str, seal: Seal) -> SealedKey:
    """Return the key sealed under a passphrase."""
    return SealedKey(seal(passphrase, key.seed))


def open_key(key: StoredKey, passphrase: str | None, unseal: Unseal) -> PlainKey:
    """Return the plain key.

    Raises ``IdentityLocked`` when it is sealed and no passphrase was given,
    ``IdentityPassphraseWrong``, and what ``unseal`` raises for altered bytes.
    """
    match key:
        case PlainKey():
            return key
        case SealedKey(box):
            if passphrase is None:
                raise IdentityLocked
            seed = unseal(passphrase, box)
            if seed is None:
                raise IdentityPassphraseWrong
            return PlainKey(seed)
        case _:
            assert_never(key)


def create_device_key(path: Path, key: StoredKey) -> None:
    """Write a new key file durably (0600).

    Raises ``KeyExists`` when there is one, even a damaged one, and storage errors.
    """
    with Folder.open(path.parent) as folder:
        try:
            folder.replace(path.name, [_encode(key)], None)
        except TargetChanged as error:
            raise KeyExists(path=path) from error


def load_device_key(path: Path) -> StoredKey:
    """Return the key in the file.

    Raises ``KeyMissing``, ``KeyExposed`` when others may read or write it, ``KeyDamaged``,
    ``NotARegularFile`` or another storage error.
    """
    with Folder.open(path.parent) as folder:
        return _load(folder, path)


def reseal_device_key(path: Path, known: StoredKey, key: StoredKey) -> None:
    """Store the same seed in another way: under a first, another or no passphrase.

    The caller proves that it knows what is stored: raises ``TargetChanged`` when the file holds
    something else than ``known``. The file is the old or the new one, whole, also after a crash.
    """
    with Folder.open(path.parent) as folder:
        _load(folder, path)
        folder.replace(path.name, [_encode(key)], content_digest(_encode(known)))


def _load(folder: Folder, path: Path) -> StoredKey:
    try:
        data, _found = folder.read(path.name, KEY_FILE_BYTES_MAX)
    except FileAbsent as error:
        raise KeyMissing(path=path) from error
    except FileTooLarge as error:
        raise KeyDamaged(path=path, cause="it is too large") from error
    if os.name == "posix":
        mode = os.stat(path, follow_symlinks=False).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise KeyExposed(path=path)
    return _decode(path, data)


def _encode(key: StoredKey) -> bytes:
    match key:
        case PlainKey(seed):
            assert len(seed) == SEED_BYTES
            kind, data = "plain", seed
        case SealedKey(box):
            kind, data = "sealed", box
        case _:
            assert_never(key)
    lines = f"{_TITLE}{_VERSION}\n{kind}\n{base64.b64encode(data).decode()}\n"
    return f"{lines}{_check(lines)}\n".encode()


def _decode(path: Path, data: bytes) -> StoredKey:
    try:
        title, kind, text, check, rest = data.decode("ascii").split("\n")
    except ValueError:
        raise KeyDamaged(path=path, cause="it is cut off or no device key") from None
    if not title.startswith(_TITLE):
        raise KeyDamaged(path=path, cause="it is no device key")
    if title != _TITLE + _VERSION:
        raise KeyDamaged(path=path, cause="it was made by a newer p2psync")
    if rest or check != _check(f"{title}\n{kind}\n{text}\n"):
        raise KeyDamaged(path=path, cause="its content was altered")
    try:
        secret = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise KeyDamaged(path=path, cause="its content was altered") from None
    if kind == "sealed":
        return SealedKey(secret)
    if kind != "plain" or len(secret) != SEED_BYTES:
        raise KeyDamaged(path=path, cause="its content makes no sense")
    return PlainKey(secret)


def _check(lines: str) -> str:
    return content_digest(lines.encode()).hex()[:_CHECK_DIGITS]
