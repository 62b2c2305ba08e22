"""The relays that a mandate names for all its members (B-NET-2): docs/spec/operations.md.

Of each relay several values may stand at once, one for each who named it without having seen the
others'. A value without addresses says that the relay is not to be used; one with addresses goes
before it. So who takes a relay out never loses what somebody named meanwhile.
"""

from dataclasses import dataclass, field

from p2psync.core.changes import Change, RelayNamed
from p2psync.core.ops import OpId, SetRelay
from p2psync.limits import MANDATE_RELAYS_MAX


@dataclass(frozen=True, slots=True)
class Naming:
    """What a member (32 bytes) said of a relay, at an effective time."""

    id: OpId
    device: bytes
    stamp: int
    said: SetRelay


@dataclass(slots=True)
class NamedRelays:
    """The fold of what owners and accountings say of relays."""

    namings: dict[OpId, Naming] = field(default_factory=dict)
    """What nobody replaced."""
    replaced: set[OpId] = field(default_factory=set)
    """What somebody did, known or not."""

    def apply(self, operation: SetRelay, op: OpId, device: bytes, stamp: int) -> list[Change]:
        """Take what somebody who may said; return what changed for those who use relays."""
        relay = operation.relay
        before = self.of(relay)
        self.replaced |= set(operation.replaces)
        for each in operation.replaces:
            self.namings.pop(each, None)
        if op not in self.replaced:
            self.namings[op] = Naming(op, device, stamp, operation)
        after = self.of(relay)
        if after == before:
            return []
        return [RelayNamed(relay, device, known=bool(before), used=bool(after))]

    def standing(self, relay: bytes) -> tuple[OpId, ...]:
        """What stands of a relay (32 bytes): who says something new of it replaces that."""
        return tuple(sorted(op for op, each in self.namings.items() if each.said.relay == relay))

    def of(self, relay: bytes) -> tuple[str, ...]:
        """A relay's addresses, those that were named last first; empty when it is not used."""
        latest_first = sorted(
            (each for each in self.namings.values() if each.said.relay == relay),
            key=lambda each: (each.stamp, each.id),
            reverse=True,
        )
        return tuple(dict.fromkeys(text for each in latest_first for text in each.said.addresses))

    def used(self) -> dict[bytes, tuple[str, ...]]:
        """The relays to use and their addresses; of too many those that were named first."""
        found: dict[bytes, tuple[int, OpId]] = {}
        for each in self.namings.values():
            if each.said.addresses:
                at = (each.stamp, each.id)
                found[each.said.relay] = min(at, found.get(each.said.relay, at))
        ordered = sorted(found, key=lambda relay: found[relay])
        return {relay: self.of(relay) for relay in ordered[:MANDATE_RELAYS_MAX]}

    def dropped(self) -> frozenset[bytes]:
        """The relays that are not to be used, whoever's ticket names them."""
        said = [each.said for each in self.namings.values()]
        used = {each.relay for each in said if each.addresses}
        return frozenset(each.relay for each in said if each.relay not in used)
