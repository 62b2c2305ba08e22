"""The three places where a home keeps content apart from the files themselves."""

from pathlib import Path

from p2psync.storage.chunks import ChunkStore
from p2psync.storage.incoming import Incoming
from p2psync.storage.kept import KeptVersions


class ContentStore:
    """Sealed lists of references, content on its way, and old versions."""

    def __init__(self, chunks: Path, incoming: Path, versions: Path) -> None:
        """Open the three folders; they exist."""
        self.chunks = ChunkStore(chunks)
        self.incoming = Incoming(incoming)
        self.kept = KeptVersions(versions)

    def close(self) -> None:
        """Close what is open; idempotent."""
        self.incoming.close()
        self.chunks.close()
