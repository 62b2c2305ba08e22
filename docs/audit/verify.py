"""Verifies the integrity of a .p2psync-audit file, from docs/spec/audit.md and entry.md alone.

python verify.py FILE [MANDATE-ID]     needs: pip install msgpack PyNaCl
Prints what is wrong, one line each; ends with 0 when nothing is, with 1 otherwise.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
from nacl import bindings

MAGIC = b"p2psync audit 1\n"
HEAD, LOG, KEY, ENTRY, CONTENT, PIECE, MANIFEST, STAMP, END = range(1, 10)
FOLLOWS = {0: [HEAD], HEAD: [LOG], LOG: [LOG, KEY, ENTRY], KEY: [KEY, ENTRY]}
FOLLOWS |= {ENTRY: [ENTRY, CONTENT, MANIFEST], CONTENT: [CONTENT, PIECE, MANIFEST]}
FOLLOWS |= {PIECE: [CONTENT, PIECE, MANIFEST], MANIFEST: [STAMP, END], STAMP: [STAMP, END]}
LONGEST = {HEAD: 1024, LOG: 1024, KEY: 32, ENTRY: 1 << 18, CONTENT: 1024}
LONGEST |= {PIECE: 1 << 17, MANIFEST: 1 << 23, STAMP: 1 << 16, END: 32}
ID = bytes, 32


class Broken(Exception):
    """The file cannot be read any further."""


def need(holds: object, what: str) -> None:
    """Give up unless something holds."""
    if not holds:
        raise Broken(what)


def digest(domain: bytes, *parts: bytes, key: bytes = b"") -> bytes:
    """BLAKE2b, personalised."""
    return hashlib.blake2b(b"".join(parts), digest_size=32, key=key, person=domain).digest()


def signed(key: bytes, domain: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature holds."""
    try:
        bindings.crypto_sign_open(signature + domain + b"\0" + message, key)
    except Exception:
        return False
    return len(signature) == 64


def unpack(data: bytes, *shape: object) -> list[Any]:
    """An array in canonical msgpack with items of these types, or (bytes, length)."""
    try:
        value: list[Any] = msgpack.unpackb(data, raw=False, max_map_len=0, max_ext_len=0)
        canonical = msgpack.packb(value) == data
    except Exception as error:
        raise Broken(f"no msgpack: {error}") from None
    need(canonical and type(value) is list and len(value) == len(shape), "not canonical")
    for item, kind in zip(value, shape, strict=True):
        wanted, length = kind if isinstance(kind, tuple) else (kind, None)
        need(type(item) is wanted, "an item of another type")
        need(length is None or len(item) == length, "an item of another length")
        need(wanted is not int or 0 <= item < 1 << 63, "an integer out of bounds")
    return value


def frames_of(file: BinaryIO) -> Iterator[tuple[int, bytes, int, bytes]]:
    """Give kind, body, offset, and the digest of all that comes before, for each frame."""
    need(file.read(16) == MAGIC, "not an audit file of version 1")
    state, kind = hashlib.blake2b(MAGIC, digest_size=32, person=b"p2psync.audit"), 0
    while kind != END:
        offset, head = file.tell(), file.read(5)
        need(len(head) == 5, f"cut off at {offset}")
        need(head[0] in FOLLOWS[kind], f"a frame out of place at {offset}")
        kind, size = head[0], int.from_bytes(head[1:], "big")
        need(0 < size <= LONGEST[kind], f"a frame of a wrong length at {offset}")
        body = file.read(size)
        need(len(body) == size, f"cut off after {offset}")
        yield kind, body, offset, state.copy().digest()
        state.update(head + body)
    need(not file.read(1), "bytes after the end")


class Verifier:
    """Takes the frames of one file; ``wrong`` says what does not hold."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.logs: dict[bytes, bytes] = {}  # log: device
        self.keys: dict[bytes, bytes] = {}  # epoch: key
        self.known: dict[bytes, tuple[bytes, int]] = {}  # entry: log, seq
        self.ends: dict[bytes, bytes] = {}  # entry: signature
        self.contents, self.mandate, self.manifest = 0, b"", b""

    def check(self, holds: object, what: str) -> None:
        """Note what does not hold, and go on."""
        if not holds:
            self.wrong.append(what)

    def take(self, kind: int, body: bytes, offset: int, before: bytes) -> None:
        """Look at the next frame."""
        at = f" at {offset}"
        if kind == HEAD:
            self.mandate, founder, salt = unpack(body, ID, ID, (bytes, 16))
            self.check(digest(b"p2psync.mandate", founder, salt) == self.mandate, "founder")
        elif kind == LOG:
            log, device, number, certificate = unpack(body, ID, ID, int, (bytes, 64))
            need(number <= 1 << 32, "incarnation out of bounds")
            self.check(log > max(self.logs, default=b""), "logs are not ascending" + at)
            said = self.mandate + log + number.to_bytes(8, "big")
            self.check(signed(device, b"p2psync log 1", said, certificate), "certificate" + at)
            self.logs[log] = device
        elif kind == KEY:
            need(len(body) == 32, "a key of another length")
            epoch = hashlib.blake2b(body, digest_size=16, person=b"p2psync.epoch").digest()
            self.check(epoch not in self.keys, "a key twice" + at)
            self.keys[epoch] = body
        elif kind == ENTRY:
            try:
                self.entry(body, at)
            except Broken as error:
                self.check(False, f"entry{at}: {error}")
        elif kind == CONTENT:
            unpack(body, (bytes, 16), ID, int, int, ID)
            self.check(self.keys, "content in a file without keys")
            self.contents += 1
        elif kind == MANIFEST:
            self.end(body, before)
        elif kind == STAMP:
            _, _, response = unpack(body, str, (bytes, 8), bytes)
            self.check(hashlib.sha256(self.manifest).digest() in response, "time stamp" + at)
        elif kind == END:
            self.check(body == before, "the last digest")

    def entry(self, raw: bytes, at: str) -> None:
        """Look at an entry; those before it are known."""
        header, nonce, sealed, signature = unpack(raw, bytes, (bytes, 24), bytes, bytes)
        shape = (int, ID, ID, int, bytes, list, int, (bytes, 16), int)
        version, mandate, log, seq, prev, deps, _, epoch, size = unpack(header, *shape)
        need(version == 1 and seq < 1 << 48 and len(signature) in (0, 64), "header")
        need(len(prev) == (32 if seq else 0) and len(sealed) == size >= 16, "header")
        need(len(deps) <= 32 and all(type(d) is bytes and len(d) == 32 for d in deps), "deps")
        need(deps == sorted(set(deps)) and prev not in deps, "deps")
        name = digest(b"p2psync.entry", header, nonce, sealed)
        need(mandate == self.mandate and log in self.logs, "of another mandate or log")
        need(name not in self.known, "twice")
        self.check(not prev or self.known.get(prev) == (log, seq - 1), "prev is missing" + at)
        self.check(all(dep in self.known for dep in deps), "a dep is missing" + at)
        self.known[name] = log, seq
        self.ends.pop(prev, None)
        self.ends[name] = signature
        if self.keys:
            self.check(epoch in self.keys, "the key is missing of an entry" + at)
        if epoch in self.keys and not seq:  # its first operation, OpenLog, names the device
            key = digest(b"p2psync.payload", log, key=self.keys[epoch])
            try:
                unseal = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
                first = msgpack.unpackb(unseal(sealed, header, nonce, key))[0]
            except Exception:
                first = []
            self.check(first[:2] == [1, self.logs[log]], "a log of another device" + at)

    def end(self, body: bytes, before: bytes) -> None:
        """Look at the manifest, and at the ends of all logs."""
        self.manifest = body
        data, signature = unpack(body, bytes, bytes)
        shape = (ID, ID, int, bool, int, int, int, list, ID, str)
        mandate, device, _, sealed, entries, _, contents, heads, said, _ = unpack(data, *shape)
        self.check(signed(device, b"p2psync audit 1", data, signature), "manifest's signature")
        self.check(said == before, "manifest's digest")
        self.check(mandate == self.mandate, "manifest of another mandate")
        self.check(device in self.logs.values(), "exported by a device without a log")
        self.check((entries, contents) == (len(self.known), self.contents), "manifest's counts")
        self.check(sealed == (not self.keys), "keys, or none, against the manifest")
        found = sorted([*self.known[name], name] for name in self.ends)
        self.check(found == heads and {each[0] for each in found} == set(self.logs), "heads")
        for name, covers in self.ends.items():
            log, seq = self.known[name]
            self.check(signed(log, b"p2psync entry 1", name, covers), f"end {log.hex()}/{seq}")


def verify(path: Path, mandate: str | None = None) -> list[str]:
    """Return what is wrong with a file; nothing when it verifies."""
    verifier = Verifier()
    try:
        with path.open("rb") as file:
            for frame in frames_of(file):
                verifier.take(*frame)
    except (Broken, OSError) as error:
        return [*verifier.wrong, str(error)]
    if mandate not in (None, verifier.mandate.hex()):
        verifier.wrong.append(f"another mandate: {verifier.mandate.hex()}")
    return verifier.wrong


if __name__ == "__main__":
    problems = verify(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
    sys.stdout.write("\n".join(problems or ["verified"]) + "\n")
    sys.exit(bool(problems))
