"""What a transport can be told; the defaults are for a device, not for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from p2psync import limits
from p2psync.network.ground_config import GroundConfig
from p2psync.network.outside import is_public


def nobody(device: bytes) -> bool:
    """Every device is a stranger."""
    return False


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Times in seconds, and who is no stranger."""

    known: Callable[[bytes], bool] = nobody
    """Whether a device key belongs to a member; members have room that strangers cannot take."""
    dial_seconds: float = 10.0
    """For all addresses of one call together."""
    stagger_seconds: float = 0.025
    """A call tries the next address after this time or as soon as the one before failed."""
    late_seconds: float = 1.0
    """So long all other addresses are tried before those that are distrusted."""
    upgrade_seconds: float = 5.0
    """From an accepted TCP connection to a proven device."""
    negotiate_seconds: float = 5.0
    """For a peer to say what a stream is for."""
    streams_inbound_max: int = limits.STREAMS_INBOUND_MAX
    """Streams that a peer may have open on one connection, negotiated or not."""
    inbound_max: int = limits.CONNECTIONS_INBOUND_MAX
    strangers_max: int = limits.CONNECTIONS_STRANGERS_MAX
    """Inbound connections at once: of all devices, and of strangers among them."""
    keepalive_seconds: float = 3.0
    """After this long without a byte sent or received a ping goes out."""
    silence_seconds: float = 9.0
    """After this long without a byte received the peer is taken for dead."""
    rest_keepalive_seconds: float = 15.0
    rest_silence_seconds: float = 45.0
    """The same while a connection is only kept open, as to a relay that may pass on a call."""
    unread_seconds: float = 30.0
    """After this long with bytes and no whole message of the peer's it is taken for dead, too."""
    doubt_seconds: float = 1.5
    """A peer behind a relay that says nothing for so long after it was asked is doubted."""
    idle_seconds: float = 30.0
    """After this long without any stream a connection is closed."""
    close_seconds: float = 5.0
    """How long a clean end may wait for the peer to take what was sent."""
    public: Callable[[str], bool] = is_public
    """Whether an IP address means the same machine for everybody; others are never told or called
    from outside."""
    punch_after_seconds: float = 2.0
    """So long a relayed link stands before a hole is punched: a direct call may do as well."""
    punch_seconds: float = 5.0
    """How long both sides of one try call."""
    punch_again_seconds: float = 10.0
    punch_again_seconds_max: float = 3600.0
    """The wait after three tries; it doubles."""
    reach_again_seconds: float = 900.0
    """After so long others are asked again whether they can call this node."""
    upnp: bool = False
    """Whether a router is asked to pass on calls from outside."""
    ground: GroundConfig = field(default_factory=GroundConfig)
    """WebSocket, TLS and the proxy."""
