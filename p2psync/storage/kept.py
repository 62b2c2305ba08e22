"""Old versions of files that are synchronised whole: what a newer version took the place of.

``versions/MANDATE/DIGEST``: the very file that was replaced, moved here, so keeping a version
costs no write. A reader checks what it reads by the digests of its pieces.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from p2psync.limits import CHUNK_BYTES
from p2psync.storage.disk import DISK_CALLS, DiskCalls, disk_errors, sync_names

DIGEST_BYTES = 32


class KeptVersions:
    """The old versions of a home, by mandate and digest of the content (32 bytes each)."""

    def __init__(self, root: Path, calls: DiskCalls = DISK_CALLS) -> None:
        """The folder exists. Raises storage errors."""
        self._root = root
        self._calls = calls
        # The last process may have been broken off between making a mandate's folder and this.
        sync_names(os.fspath(root))

    def path(self, mandate: bytes, digest: bytes) -> Path:
        """Where a version is, or would be."""
        return self._root / mandate.hex() / digest.hex()

    def has(self, mandate: bytes, digest: bytes) -> bool:
        """Whether a version is here; its content is not checked."""
        return self.path(mandate, digest).exists()

    def held(self, mandate: bytes) -> dict[bytes, int]:
        """The sizes of the contents that are kept of a mandate, by digest."""
        found: dict[bytes, int] = {}
        folder = self._root / mandate.hex()
        if not folder.is_dir():
            return found
        with disk_errors(os.fspath(folder)), os.scandir(folder) as entries:
            for each in entries:
                with suppress(ValueError, FileNotFoundError):
                    if len(each.name) == 2 * DIGEST_BYTES:
                        found[bytes.fromhex(each.name)] = each.stat().st_size
        return found

    def free_bytes(self) -> int:
        """How much is free on the disk of old versions."""
        with disk_errors(os.fspath(self._root)):
            found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def drop(self, mandate: bytes, digests: Sequence[bytes]) -> None:
        """Let go of contents; each is marked durably as dropped first. Raises a storage error."""
        if not digests:
            return
        folder = self._root / mandate.hex()
        with disk_errors(os.fspath(folder)):
            for digest in digests:
                self._dropped(mandate, digest).touch(mode=0o600)
            sync_names(os.fspath(folder))
            for digest in digests:
                with suppress(FileNotFoundError):
                    os.unlink(self.path(mandate, digest))

    def was_dropped(self, mandate: bytes, digest: bytes) -> bool:
        """Whether a version was here and was dropped."""
        return self._dropped(mandate, digest).exists()

    def _dropped(self, mandate: bytes, digest: bytes) -> Path:
        return self._root / mandate.hex() / f"{digest.hex()}.dropped"

    def take(self, source: str, mandate: bytes, digest: bytes, *, synced: bool = False) -> None:
        """Move a file here; one that is here already stays, and the other goes.

        Copied when it lies on another disk. ``synced``: make the name durable too. Raises a
        storage error; then the source is where it was.
        """
        target = self.path(mandate, digest)
        with disk_errors(os.fspath(target)):
            self._make_folder(target.parent)
            try:
                os.rename(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy(source, target)
                os.unlink(source)
            if synced:
                sync_names(os.fspath(target.parent))

    def write(self, mandate: bytes, digest: bytes, content: Iterable[bytes]) -> None:
        """Keep a content that is given in pieces, durably; raises a storage error."""
        target = self.path(mandate, digest)
        with disk_errors(os.fspath(target)):
            self._make_folder(target.parent)
            self._write(target, content)

    def _make_folder(self, folder: Path) -> None:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            sync_names(os.fspath(self._root))

    def _copy(self, source: str, target: Path) -> None:
        with open(source, "rb") as reader:
            self._write(target, iter(partial(reader.read, CHUNK_BYTES), b""))

    def _write(self, target: Path, content: Iterable[bytes]) -> None:
        part = target.with_name(f"{target.name}.part")
        try:
            with open(part, "wb", opener=partial(os.open, mode=0o600)) as writer:
                for piece in content:
                    writer.write(piece)
                writer.flush()
                self._calls.fsync(writer.fileno())
            os.rename(part, target)
            sync_names(os.fspath(target.parent))
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise

    def forget(self, mandate: bytes) -> None:
        """Remove all versions of a mandate, as far as the disk lets us."""
        shutil.rmtree(self._root / mandate.hex(), ignore_errors=True)
