"""The device key file as the node uses it: make it at the first start, open, protect, unlock."""

import secrets
import socket
from functools import partial

import trio

from p2psync.core import crypto
from p2psync.core.crypto import SigningKey, Stretch
from p2psync.errors import IdentityUnprotected, KeyMissing
from p2psync.limits import (
    ARGON2_MEMORY_BYTES_MAX,
    ARGON2_OPERATIONS_MAX,
    MACHINE_NAME_BYTES_MAX,
)
from p2psync.node.identity import Identity, LockedKey
from p2psync.node.store import Store
from p2psync.storage.home import Home
from p2psync.storage.keys import (
    PlainKey,
    create_device_key,
    load_device_key,
    open_key,
    reseal_device_key,
    seal_key,
)

_DOMAIN = b"p2psync device key 1"
_MOST = Stretch(ARGON2_OPERATIONS_MAX, ARGON2_MEMORY_BYTES_MAX)


def _seal(passphrase: str, plaintext: bytes) -> bytes:
    salt = secrets.token_bytes(crypto.SALT_BYTES)
    return crypto.seal_with_passphrase(passphrase, plaintext, salt, _DOMAIN)


def _unseal(passphrase: str, sealed: bytes) -> bytes | None:
    return crypto.unseal_with_passphrase(passphrase, sealed, _DOMAIN, _MOST)


class KeyFile:
    """One home's device key; the functions block for as long as a passphrase takes to stretch."""

    def __init__(self, home: Home, store: Store) -> None:
        self._home = home
        self._store = store

    async def open(self) -> Identity:
        """Return who this device is; a new home gets a new key, durable before anything uses it."""
        path = self._home.device_key
        try:
            stored = await trio.to_thread.run_sync(load_device_key, path)
        except KeyMissing:
            known = await self._store.setting("device")
            if known is not None:
                # Not a new home: somebody took the key away. A new one would be a stranger.
                raise
            seed = secrets.token_bytes(crypto.SEED_BYTES)
            stored = PlainKey(seed)
            await trio.to_thread.run_sync(create_device_key, path, stored)
        name = await self._store.setting("name") or ""
        machine = socket.gethostname()[:MACHINE_NAME_BYTES_MAX]
        if isinstance(stored, PlainKey):
            signer = SigningKey.from_seed(stored.seed)
            await self._store.put_setting("device", signer.public.hex())
            return Identity(signer, name, machine, protected=False)
        public = await self._store.setting("device")
        if public is None:
            raise KeyMissing(path=path)
        return Identity(LockedKey.of(bytes.fromhex(public)), name, machine, protected=True)

    async def protect(self, identity: Identity, passphrase: str | None) -> None:
        """Seal the key with a passphrase (a new one while it is unlocked); then it can be locked.

        Raises ``IdentityUnprotected`` when it has none and none is given.
        """
        if passphrase is None:
            if not identity.protected:
                raise IdentityUnprotected()
            return
        path = self._home.device_key

        def reseal() -> None:
            known = load_device_key(path)
            plain = PlainKey(identity.signer.seed)
            reseal_device_key(path, known, seal_key(plain, passphrase, _seal))

        await trio.to_thread.run_sync(reseal)
        identity.protected = True

    async def unlock(self, identity: Identity, passphrase: str) -> None:
        """Open the key; raises ``IdentityPassphraseWrong``."""
        stored = await trio.to_thread.run_sync(load_device_key, self._home.device_key)
        plain = await trio.to_thread.run_sync(partial(open_key, stored, passphrase, _unseal))
        identity.signer = SigningKey.from_seed(plain.seed)
