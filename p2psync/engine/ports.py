"""What the engine and the node need from the network and the disk, as Protocols.

The engine itself does no I/O: these describe the world that ``node`` joins it to, so that a
faster transport phase, circuits over relays or a mailbox can take a port's place without a change
to the engine. Each port has one contract suite, run on the fake and on the real thing.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from p2psync.core.frontier import Index


class LinkEnded(Exception):
    """The peer ended the link on purpose: all that it sent has arrived."""


class LinkBroken(Exception):
    """The link was cut: reset, lost, timed out, or the peer broke the framing."""


class Link(Protocol):
    """One authenticated, encrypted, ordered, framed channel to one device.

    There is at most one standing link per peer and direction; all mandates share it.
    """

    @property
    def device(self) -> bytes:
        """The peer's device key, 32 bytes, proven by the handshake."""

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        """Who dialled."""

    @property
    def remote_address(self) -> str:
        """The peer's address as seen here, for people; may be empty."""

    async def send(self, frame: bytes) -> None:
        """Send one frame of at most ``limits.FRAME_BYTES_MAX`` bytes.

        Cancelling it never leaves half a frame behind a later one: the link breaks instead.
        Raises ``LinkBroken`` when the link is gone.
        """

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Send frames if that takes no waiting; false when it would, and nothing was sent."""

    async def receive(self) -> bytes:
        """Return the next frame; raises ``LinkEnded`` or ``LinkBroken``."""

    async def close(self) -> None:
        """End cleanly: the peer gets every frame sent before, then ``LinkEnded``. Idempotent."""

    async def abort(self) -> None:
        """Cut at once: the peer gets ``LinkBroken``. Idempotent."""


@runtime_checkable
class Timed(Protocol):
    """A link that knows how far its peer is."""

    @property
    def rtt_seconds(self) -> float | None:
        """The quickest of the last round trips; ``None`` while none is known."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A peer that discovery believes to be ``device`` at ``addresses`` (multiaddrs, no peer ID)."""

    device: bytes
    addresses: tuple[str, ...]


class Transport(Protocol):
    """Listens, dials and authenticates."""

    async def dial(self, device: bytes, addresses: Sequence[str]) -> Link:
        """Race all addresses and return the first link whose peer proves to be ``device``.

        Raises ``UnavailableError`` subclass ``PeerUnreachable`` naming each address and cause.
        """

    def addresses(self) -> tuple[str, ...]:
        """Where this node can be dialled now, as multiaddrs without peer ID."""


class Discovery(Protocol):
    """Finds members on the LAN without telling strangers which mandate is here."""

    def update(self, mandates: Sequence["DiscoverableMandate"]) -> None:
        """Replace what is announced and looked for."""


@dataclass(frozen=True, slots=True)
class DiscoverableMandate:
    """A shared mandate's discovery key (32 bytes) and the devices expected to announce it.

    One that is not ``announced`` is only looked for.
    """

    discovery_key: bytes
    devices: tuple[bytes, ...]
    announced: bool = True


AcceptLink = Callable[[Link], Awaitable[None]]
"""Called in its own task for each inbound link; the link is closed when it returns."""


class Touching(NamedTuple):
    """An entry that touched a file: see ``core.files.Touch``; its bytes and effective time.

    ``number`` is the touch's ``index``.
    """

    entry: bytes
    number: int
    records: int
    added: int
    deleted: int
    raw: bytes
    stamp: int


class Archive(Index, Protocol):
    """One mandate's durable entries, and what is kept of their fold; answers at once.

    It knows what was committed, and nothing that is still on its way to the disk.
    """

    def raws(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of some entries, by id."""

    def touching(self, file: bytes) -> Iterator[Touching]:
        """Yield what touched a file (16 bytes), in order of arrival of the entries."""

    def versions(self, file: bytes, entry: bytes | None = None) -> Iterator[Touching]:
        """The same, versions only; of one entry or of all."""

    def waiting(self) -> Sequence[bytes]:
        """Return the bytes of the entries that are not folded, in order of arrival."""

    def distrust(self) -> None:
        """What is kept of the fold is wrong: it is made anew from the entries next time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a mandate's fold: see ``effects.Derived``."""

    version: int
    check: int
    things: dict[bytes, bytes]
