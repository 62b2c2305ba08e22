"""What is known of where this node is seen from outside, and whether it can be called there.

Others tell what they see: identify's observed address, AutoNAT's calls back. None of it is proven,
so a word counts when a relay of ours says it, or two different devices do. A router that maps a
port (UPnP) is asked by ourselves.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from p2psync import limits
from p2psync.network.address import TcpAddress

T = TypeVar("T")
Reach = Literal["public", "private", "unknown"]
"""Whether this node can be called from outside: yes, no, or nobody could be asked."""

_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
            *("100.64.0.0/10", "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"),
            *("fc00::/7", "fe80::/10", "::/96", "ff00::/8"),
        ),
    )
)
"""Private, shared, link-local, loopback, multicast and reserved (RFC 1918, 6598, 3927, 4193)."""
_HOLDING_IPV4 = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""An IPv4 address is in their last 32 bits (RFC 4291, 6052), and it is what is called."""


def is_public(host: str) -> bool:
    """Whether an IP address means the same machine for everybody; false for a name."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    if any(ip in network for network in _HOLDING_IPV4):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return not any(ip in network for network in _INSIDE)


@dataclass(frozen=True, slots=True)
class _Seen:
    address: TcpAddress
    exact: bool
    trusted: bool
    until: float


@dataclass(frozen=True, slots=True)
class _Tried:
    reached: TcpAddress | None
    trusted: bool
    until: float


class Outside:
    """The words of others, each for a while, and what follows from them.

    ``now`` is a monotonic clock in seconds.
    """

    def __init__(self, now: Callable[[], float], public: Callable[[str], bool] = is_public) -> None:
        self._now = now
        self._public = public
        self._seen: dict[bytes, _Seen] = {}
        self._tried: dict[bytes, _Tried] = {}
        self.mapped: tuple[TcpAddress, ...] = ()
        """What a router was asked to pass on to this node's port."""

    # -- what others say ------------------------------------------------------------------------

    def observe(self, by: bytes, address: TcpAddress, *, exact: bool, trusted: bool) -> None:
        """Take what a device (32 bytes) says that it sees of us.

        ``exact``: our end of that connection was the port on which we listen, so that the port
        that is seen outside leads to it. ``trusted``: it is a relay of ours.
        """
        if self._public(address.host):
            until = self._now() + limits.OBSERVED_SECONDS
            _put(self._seen, by, _Seen(address, exact, trusted, until))

    def tried(self, by: bytes, reached: TcpAddress | None, *, trusted: bool) -> None:
        """Take the outcome of a call back by a device: where it reached us, or ``None``."""
        until = self._now() + limits.OBSERVED_SECONDS
        _put(self._tried, by, _Tried(reached, trusted, until))

    def forget(self) -> None:
        """This machine is in another network now: what was said before means nothing."""
        self._seen.clear()
        self._tried.clear()

    # -- what follows ---------------------------------------------------------------------------

    def reach(self) -> Reach:
        """Whether this node can be called from outside."""
        said = [each for each in self._tried.values() if each.until > self._now()]
        yes = [each for each in said if each.reached is not None]
        no = [each for each in said if each.reached is None]
        if _counts([each.trusted for each in yes]):
            return "public"
        if _counts([each.trusted for each in no]):
            return "private"
        return "unknown"

    def _believed(self) -> list[_Seen]:
        """The words that count, each host's first by a relay of ours."""
        by_host: dict[str, list[_Seen]] = {}
        for each in self._seen.values():
            if each.until > self._now():
                by_host.setdefault(each.address.host, []).append(each)
        return [
            each
            for said in by_host.values()
            if _counts([each.trusted for each in said])
            for each in sorted(said, key=lambda seen: not seen.trusted)
        ]

    def candidates(self, listening: Sequence[TcpAddress]) -> tuple[TcpAddress, ...]:
        """Where this node may be seen from outside, the likeliest first.

        ``listening``: where it listens, without wildcards. At a NAT the port outside is the one
        that was seen where it is known, and else most likely the same as inside.
        """
        found = [each for each in self.mapped if self._public(each.host)]
        found += [each for each in listening if self._public(each.host)]
        believed = self._believed()
        found += [each.address for each in believed if each.exact]
        found += [
            TcpAddress(own.family, each.address.host, own.port)
            for each in believed
            for own in listening
            if own.family == each.address.family
        ]
        return tuple(dict.fromkeys(found))[: limits.PUNCH_ADDRESSES_MAX]

    def told(self, listening: Sequence[TcpAddress]) -> tuple[TcpAddress, ...]:
        """What members are told of that besides the addresses of this machine.

        Where a call back came through, and what a router maps; where nobody could try, what is
        believed; where it failed, nothing.
        """
        found = [each for each in self.mapped if self._public(each.host)]
        match self.reach():
            case "public":
                found += [
                    each.reached
                    for each in self._tried.values()
                    if each.reached is not None and each.until > self._now()
                ]
            case "unknown":
                found += self.candidates(listening)
            case "private":
                pass
        own = set(listening)
        return tuple(each for each in dict.fromkeys(found) if each not in own)


def _counts(trusted: Sequence[bool]) -> bool:
    return any(trusted) or len(trusted) >= limits.OBSERVERS_MIN


def _put(words: dict[bytes, T], by: bytes, word: T) -> None:
    """Keep the latest word of a device, and of so many devices."""
    words.pop(by, None)
    words[by] = word
    if len(words) > limits.OBSERVERS_MAX:
        del words[next(iter(words))]
