"""Who may hold an inbound connection: counts, and whom to send away.

A slot is held from ``accept`` until its connection is gone, and not a moment longer. Under a flood
the newest does not lose: an honest upgrade takes milliseconds, a silent one seconds, so the oldest
unfinished upgrade goes.
"""

import ipaddress
from collections.abc import Callable, Iterable

from p2psync import limits
from p2psync.network.address import TcpAddress


class Slot:
    """One inbound connection's place."""

    def __init__(self, origin: str, evict: Callable[[], None], expected: bool = False) -> None:
        self.origin = origin
        """The address it came from (an IPv6 host counts with its whole /64), or the relay."""
        self.expected = expected
        """Whether a relay says that a member calls; who calls directly is not announced."""
        self.evict = evict
        """Ends the connection that holds the slot."""
        self.device: bytes | None = None
        """Who it proved to be; None while it is being upgraded."""
        self.member = False


class Guard:
    """All slots of one transport, oldest first."""

    def __init__(
        self,
        known: Callable[[bytes], bool],
        inbound_max: int = limits.CONNECTIONS_INBOUND_MAX,
        strangers_max: int = limits.CONNECTIONS_STRANGERS_MAX,
    ) -> None:
        self._known = known
        self._inbound_max = inbound_max
        self._strangers_max = strangers_max
        self._slots: list[Slot] = []

    def admit(self, device: bytes) -> None:
        """A device has shown that it is no stranger; its connections are not sent away for one."""
        for slot in self._slots:
            if slot.device == device:
                slot.member = True

    def resize(self, inbound_max: int, strangers_max: int) -> None:
        """Have other bounds from now on; who is here stays."""
        self._inbound_max = inbound_max
        self._strangers_max = strangers_max

    @property
    def upgrading(self) -> int:
        """How many have not yet proved a device."""
        return sum(slot.device is None for slot in self._slots)

    @property
    def established(self) -> int:
        """How many have."""
        return len(self._slots) - self.upgrading

    def arrive(
        self,
        remote: TcpAddress | None,
        evict: Callable[[], None],
        *,
        relay: bytes | None = None,
        caller: bytes | None = None,
    ) -> Slot:
        """Take a slot for a fresh connection; of too many the oldest unfinished one goes.

        First one of the same origin, beyond ``limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX``; then
        any, beyond ``limits.CONNECTIONS_UPGRADING_MAX``. ``relay`` (32 bytes) passes it on, and is
        an origin of its own; ``caller``, a device key, is who it says that calls: of one relay's
        calls those of members go last.
        """
        origin = origin_of(remote) if relay is None else f"relay {relay.hex()}"
        slot = Slot(origin, evict, caller is not None and self._known(caller))
        waiting = [other for other in self._slots if other.device is None]
        same = [other for other in waiting if other.origin == slot.origin]
        if len(same) >= limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX:
            self._send_away(next((other for other in same if not other.expected), same[0]))
        elif len(waiting) >= limits.CONNECTIONS_UPGRADING_MAX:
            self._send_away(waiting[0])
        self._slots.append(slot)
        return slot

    def prove(self, slot: Slot, device: bytes) -> bool:
        """Record who holds the slot; False when there is no room for that device.

        A device's oldest connection goes beyond ``limits.CONNECTIONS_PER_DEVICE_MAX``. Strangers
        have ``strangers_max`` places of the ``inbound_max``; a newcomer among them replaces one of
        the origin that holds most, if its own origin holds fewer.
        """
        if slot not in self._slots:
            return False
        proven = [other for other in self._slots if other.device is not None]
        of_device = [other for other in proven if other.device == device]
        slot.member = self._known(device)
        if len(of_device) >= limits.CONNECTIONS_PER_DEVICE_MAX:
            self._send_away(of_device[0])
        elif not slot.member and not self._room_for_stranger(slot, proven):
            return False
        elif len(proven) >= self._inbound_max:
            strangers = [other for other in proven if not other.member]
            if not (slot.member and strangers):
                return False
            self._send_away(strangers[0])
        slot.device = device
        return True

    def leave(self, slot: Slot) -> None:
        """Give the slot back; idempotent."""
        if slot in self._slots:
            self._slots.remove(slot)

    def _room_for_stranger(self, slot: Slot, proven: Iterable[Slot]) -> bool:
        strangers = [other for other in proven if not other.member]
        if len(strangers) < self._strangers_max:
            return True
        held: dict[str, list[Slot]] = {}
        for other in strangers:
            held.setdefault(other.origin, []).append(other)
        most = max(held.values(), key=len)
        if len(held.get(slot.origin, [])) >= len(most):
            return False
        self._send_away(most[0])
        return True

    def _send_away(self, slot: Slot) -> None:
        self._slots.remove(slot)
        slot.evict()


def origin_of(remote: TcpAddress | None) -> str:
    """What counts as one origin: an IPv4 address, or an IPv6 /64 (one customer has that many)."""
    if remote is None:
        return "?"
    ip = ipaddress.ip_address(remote.host)
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ipaddress.ip_network((ip, 64), strict=False))
