"""What the machine is, and what it can do at most: measured in the same run as all else."""

import os
import platform
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as xchacha20_encrypt
from nacl.signing import SigningKey

from scripts.benchmarks.context import Context
from scripts.benchmarks.figures import MACHINE, Better, Figure
from scripts.benchmarks.nodes import environment
from scripts.benchmarks.peers.rsync import version as rsync_version
from scripts.benchmarks.peers.syncthing import version as syncthing_version

NAME = "limits"
TITLE = "the machine's limits"
_KIB = 1024
_PIECE = bytes(range(256)) * 80
"""20 KiB."""
_LIBRARIES = ("libp2p", "trio", "PyNaCl", "cryptography", "blake3", "msgpack")


def facts(folder: Path) -> dict[str, str]:
    """Returns what a reader needs to judge the figures; no name or path of the machine."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file system": file_system(folder),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **_libraries(),
        "Syncthing": syncthing_version() or "not installed",
        "rsync": rsync_version() or "not installed",
        "date": time.strftime("%Y-%m-%d"),
    }
    return found


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def file_system(folder: Path) -> str:
    """Returns the type of the file system that holds a folder."""
    best, name = -1, "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if folder.resolve().is_relative_to(place) and len(place) >= best:
            best, name = len(place), kind
    return name


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


# -- limits ----------------------------------------------------------------------------------------


def run(context: Context) -> Iterator[Figure]:
    """Measures what no program on this machine can beat."""
    seconds = context.sizes.limit_seconds
    with context.fresh(NAME) as folder:
        yield from _disk(folder, context.sizes.large_bytes, seconds)
        yield from _database(folder, seconds)
    yield _limit("loopback, one byte there and back", loopback_ms(seconds), "ms", "lower")
    yield from _ciphers(seconds)
    for what, code in (
        ("start of Python", "pass"),
        ("import of the node", "import p2psync.cli.daemon"),
    ):
        yield _limit(what, _python_ms(context, code), "ms", "lower")


def _limit(measure: str, value: float, unit: str, better: Better = "higher") -> Figure:
    return Figure(NAME, MACHINE, measure, value, unit, better=better)


def _disk(folder: Path, large_bytes: int, seconds: float) -> Iterator[Figure]:
    def save() -> None:
        durable_save(folder / "saved", _PIECE)

    yield _limit(
        "20 KB: write, fsync, rename, fsync of the folder",
        1000 / rate(save, seconds),
        "ms",
        "lower",
    )
    numbers = iter(range(10**9))

    def small() -> None:
        path = folder / f"small-{next(numbers)}"
        _write(path, _PIECE).replace(path)

    yield _limit("files of 20 KB with fsync and rename", rate(small, seconds), "1/s")
    piece = os.urandom(8 << 20)
    began = time.perf_counter()
    with (folder / "large").open("wb") as file:
        for _ in range(large_bytes // len(piece)):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    passed = time.perf_counter() - began
    yield _limit(f"{large_bytes >> 20} MiB: write and fsync", passed, "s", "lower")
    yield _limit("write with fsync", large_bytes / passed / 1e6, "MB/s")


def durable_save(path: Path, content: bytes) -> None:
    """Saves so that a power cut leaves the old content or the new."""
    _write(path, content).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(path: Path, content: bytes) -> Path:
    beside = path.with_suffix(".tmp")
    with beside.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
    return beside


def rate(work: Callable[[], object], seconds: float) -> float:
    """Returns how often a second some work can be done: the best of three stretches."""
    best = 0.0
    work()
    for _ in range(3):
        count, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds / 3:
            work()
            count += 1
        best = max(best, count / passed)
    return best


def loopback_ms(seconds: float) -> float:
    """Returns the median round trip of one byte between two threads of this process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def echo() -> None:
        while data := far.recv(1):
            far.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        near.sendall(b"x")
        near.recv(1)
        samples.append((time.perf_counter() - began) * 1000)
    near.close()
    thread.join()
    far.close()
    return statistics.median(samples)


def _database(folder: Path, seconds: float) -> Iterator[Figure]:
    link = sqlite3.connect(folder / "limits.db", isolation_level=None)
    link.execute("PRAGMA journal_mode=WAL")
    link.execute("PRAGMA synchronous=FULL")
    link.execute("CREATE TABLE entry (log INTEGER, seq INTEGER PRIMARY KEY, bytes BLOB)")
    row = os.urandom(200)
    numbers = iter(range(10**9))

    def commit(rows: int) -> None:
        link.execute("BEGIN")
        link.executemany(
            "INSERT INTO entry VALUES (1, ?, ?)", ((next(numbers), row) for _ in range(rows))
        )
        link.execute("COMMIT")

    yield _limit("SQLite, commits of one row", rate(lambda: commit(1), seconds), "1/s")
    yield _limit(
        "SQLite, rows at 1,000 a commit", 1000 * rate(lambda: commit(1000), seconds), "1/s"
    )
    link.close()


def _ciphers(seconds: float) -> Iterator[Figure]:
    key, nonce, wide = os.urandom(32), os.urandom(12), os.urandom(24)
    large = os.urandom(256 * _KIB)
    signer = SigningKey(key)
    signature, verifier = signer.sign(_PIECE[:200]).signature, signer.verify_key
    other = Ed25519PrivateKey.from_private_bytes(key).public_key()
    chacha, aes = ChaCha20Poly1305(key), AESGCM(key)
    seconds /= 2
    yield _limit(
        "Ed25519 checks, one core (PyNaCl)",
        rate(lambda: verifier.verify(_PIECE[:200], signature), seconds),
        "1/s",
    )
    yield _limit(
        "Ed25519 checks, one core (cryptography)",
        rate(lambda: other.verify(signature, _PIECE[:200]), seconds),
        "1/s",
    )
    for what, work in (
        ("BLAKE3, 256 KiB", lambda: blake3(large).digest()),
        ("XChaCha20-Poly1305, 256 KiB (PyNaCl)", lambda: xchacha20_encrypt(large, b"", wide, key)),
        ("ChaCha20-Poly1305, 256 KiB (cryptography)", lambda: chacha.encrypt(nonce, large, None)),
        ("AES-256-GCM, 256 KiB (cryptography)", lambda: aes.encrypt(nonce, large, None)),
    ):
        yield _limit(what, rate(work, seconds) * len(large) / 1e6, "MB/s")


def _python_ms(context: Context, code: str) -> float:
    samples = []
    for _ in range(min(5, context.sizes.starts)):
        began = time.perf_counter()
        subprocess.run(
            [context.tree.python, "-c", code],
            check=True,
            env=environment(context.tree),
            cwd=tempfile.gettempdir(),
        )
        samples.append((time.perf_counter() - began) * 1000)
    return statistics.median(samples)
