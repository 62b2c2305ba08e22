"""The relays that this node uses: which, for which mandates, and how each of them is (B-NET-2).

They come from people (``p2psync relay add``), from tickets, and from mandates, in which one member
names them for all. Reservations are kept while the network is on and a mandate is shared; members
are then called through them, too.
"""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from p2psync.core.changes import RelayNamed
from p2psync.core.membership import MAY_INVITE
from p2psync.core.ops import SetRelay
from p2psync.core.ticket import Ticket, TicketPeer
from p2psync.engine.effects import Sighted
from p2psync.errors import (
    BadAddress,
    BadInputError,
    NotAllowed,
    RelayAddressInvalid,
    RelayRefused,
    RelaysTooMany,
    RelaysTooManyForAll,
    RelayUnknown,
    RelayUnreachable,
)
from p2psync.limits import (
    MANDATE_RELAYS_MAX,
    RELAYS_MAX,
    RELAYS_USED_MAX,
    TICKET_ADDRESSES_PER_PEER_MAX,
    TICKET_PEERS_MAX,
)
from p2psync.network.address import CircuitAddress, RelayAddress, parse_any, parse_relay
from p2psync.network.circuits import Circuits, RelayState
from p2psync.network.identity import peer_id_text
from p2psync.node import find, news, views
from p2psync.node.closed import check_belongs
from p2psync.node.opened import Opened
from p2psync.node.relay_sources import Known, readable, renewed
from p2psync.node.runner import wall_ms

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
_SETTING = "relays"
UNREACHABLE_SECONDS = 60.0
"""So long a relay may be away before people are told."""


class Relays:
    """All relays of one node."""

    def __init__(self, node: "Node", unreachable_seconds: float = UNREACHABLE_SECONDS) -> None:
        """``unreachable_seconds``: so long a relay may be away before people are told."""
        self._node = node
        self._known: dict[bytes, Known] = {}
        self._changed = trio.Event()
        self._circuits: Circuits | None = None
        self._anew = False
        """Whether all reservations are to be made anew."""
        self._unreachable_seconds = unreachable_seconds

    async def load(self) -> None:
        """Learn which relays there are."""
        for said in json.loads(await self._node.store.setting(_SETTING) or "[]"):
            addresses = [parse_relay(text) for text in said["addresses"]]
            tickets = {bytes.fromhex(mandate) for mandate in said["mandates"]}
            device = addresses[0].device
            self._known[device] = Known(device, addresses, said["own"], tickets)

    async def _keep(self) -> None:
        said = [
            {
                "addresses": [str(address) for address in known.kept],
                "own": known.own,
                "mandates": sorted(mandate.hex() for mandate in known.tickets),
            }
            for known in self._known.values()
            if known.kept
        ]
        await self._node.store.put_setting(_SETTING, json.dumps(said))

    # -- commands -----------------------------------------------------------------------------

    async def add(self, text: str, mandate: str | None = None) -> Json:
        """Use a relay, here or with ``mandate`` for all its members; a known one gets another
        address or token."""
        self._node.check_writable()
        try:
            address = parse_relay(text)
        except BadAddress as error:
            raise RelayAddressInvalid(cause=error.params["cause"]) from None
        except BadInputError as error:
            raise RelayAddressInvalid(cause=error.text) from None
        if mandate is not None:
            await self._name(find.mandate(self._node.opened.values(), mandate), address)
        known = self._known.get(address.device)
        if mandate is None or (known is not None and known.own):
            self._check_room([address.device])
            self._learn(address).own = True
            await self._keep()
        self.look_again()
        return self._view(self._known[address.device])

    async def _name(self, opened: Opened, address: RelayAddress) -> None:
        """Have all members of a mandate use a relay."""
        self._check_may_name(opened)
        relays = opened.state.relays
        used = relays.used()
        if address.device not in used and len(used) >= MANDATE_RELAYS_MAX:
            raise RelaysTooManyForAll(mandate=opened.name, most=MANDATE_RELAYS_MAX)
        known = readable(address.device, relays.of(address.device))
        places = tuple(str(each) for each in renewed(known, address))
        standing = relays.standing(address.device)
        if places != relays.of(address.device) or len(standing) > 1:
            operation = SetRelay(address.device, places, standing)
            await self._node.author(opened, [operation]).wait()

    def _check_may_name(self, opened: Opened) -> None:
        """Raise ``NotAllowed`` unless this device may say which relays all members use."""
        check_belongs(opened)
        if not opened.state.membership.may(self._node.identity.device, MAY_INVITE):
            raise NotAllowed(action="name a relay for all members", roles="accounting, owner")

    async def remove(self, text: str, mandate: str | None = None) -> Json:
        """Use a relay no more, whoever's ticket named it; with ``mandate`` none of its members.

        Without it, a relay that a mandate names goes on being used: the answer says for which.
        """
        self._node.check_writable()
        found = [known for known in self._known.values() if known.answers(text)]
        if len(found) != 1:
            raise RelayUnknown(relay=text[:80])
        (known,) = found
        if mandate is None:
            known.kept, known.own, known.tickets = [], False, set()
            self.look_again()  # before others have their turn: it may have no address any more
            await self._keep()
        else:
            opened = find.mandate(self._node.opened.values(), mandate)
            self._check_may_name(opened)
            if opened.id not in known.tickets | known.named.keys():
                raise RelayUnknown(relay=text[:80])
            standing = opened.state.relays.standing(known.device)
            if opened.id not in known.dropped:
                operation = SetRelay(known.device, (), standing)
                await self._node.author(opened, [operation]).wait()
        self.look_again()
        return {
            "peer": peer_id_text(known.device),
            "own": known.own,
            "mandates": self._names(known.mandates),
        }

    def view(self) -> Json:
        """Each relay, and how it stands with it."""
        return {"relays": [self._view(known) for known in self._known.values()]}

    def host_of(self, device: bytes) -> str:
        """A relay's host, for people; its peer ID when this node does not know it."""
        known = self._known.get(device)
        return peer_id_text(device) if known is None else known.addresses[0].place.host

    def _names(self, mandates: Iterable[bytes]) -> list[str]:
        opened = (self._node.opened.get(mandate) for mandate in sorted(mandates))
        return [each.name for each in opened if each is not None]

    def _view(self, known: Known) -> Json:
        state = known.state
        shown: Json = {
            "peer": peer_id_text(known.device),
            "address": str(known.addresses[0].place),
            "own": known.own,
            "mandates": self._names(known.named),
            "tickets": self._names(known.tickets - known.dropped),
            "state": "off" if state is None else state.status,
            "since": views.iso(known.since_ms) if known.since_ms else None,
        }
        if state is not None and state.cause:
            shown["cause"] = state.cause
        return shown

    # -- tickets ------------------------------------------------------------------------------

    def for_ticket(self, opened: Opened) -> tuple[TicketPeer, ...]:
        """What a ticket of a mandate says of relays: those that the mandate names first."""
        fitting = [known for known in self._of(opened.id) if opened.id not in known.dropped]
        fitting.sort(key=lambda known: opened.id not in known.named)
        return tuple(
            TicketPeer(known.device, tuple(str(each) for each in self._told(opened, known)))
            for known in fitting
        )[:TICKET_PEERS_MAX]

    def _told(self, opened: Opened, known: Known) -> Sequence[RelayAddress]:
        """The addresses of a relay that a newcomer is told: the mandate's own, if it says any."""
        return (known.named.get(opened.id) or known.addresses)[:TICKET_ADDRESSES_PER_PEER_MAX]

    async def take(self, read: Ticket) -> None:
        """Learn the relays that a ticket names; what is no address of a relay is left out."""
        named = [each for peer in read.relays for each in readable(peer.device, peer.addresses)]
        for address in named:
            if address.device in self._known or len(self._known) < RELAYS_MAX:
                self._learn(address).tickets.add(read.mandate)
        if named:
            await self._keep()
            self.look_again()

    async def forget(self, mandate: bytes) -> None:
        """A mandate is no concern of this node any more."""
        touched = [known for known in self._known.values() if mandate in known.tickets]
        for known in touched:
            known.tickets.discard(mandate)
        self.look_again()
        if touched:
            await self._keep()

    def _learn(self, address: RelayAddress) -> Known:
        known = self._known.setdefault(address.device, Known(address.device))
        known.learn(address)
        return known

    def _check_room(self, devices: Iterable[bytes]) -> None:
        chosen = {device for device, known in self._known.items() if known.kept}
        if len(chosen | set(devices)) > RELAYS_MAX:
            raise RelaysTooMany(most=RELAYS_MAX)

    def of(self, mandate: bytes) -> tuple[bytes, ...]:
        """The relays (keys of 32 bytes) by which members of a mandate are reached."""
        return tuple(known.device for known in self._of(mandate))

    def _of(self, mandate: bytes) -> list[Known]:
        """The relays by which members of a mandate are reached."""
        return [known for known in self._known.values() if known.own or mandate in known.mandates]

    # -- what mandates say --------------------------------------------------------------------

    def on_named(self, opened: Opened, change: RelayNamed) -> None:
        """Somebody named a relay for all members of a mandate, or took it out."""
        self._gather()
        known = self._known.get(change.relay)
        if known is not None:
            known.refused.clear()  # the operator may have changed what is let in
            relay = known.addresses[0].place.host
        else:
            relay = peer_id_text(change.relay)
        news.relay_named(self._node.notices, opened, change, relay)
        self._changed.set()

    def look_again(self) -> None:
        """A mandate came, went, or was shared; or what is known of a relay changed."""
        self._gather()
        self._changed.set()

    def _gather(self) -> None:
        """Take in what the mandates say, and let go of relays that nobody names any more."""
        for known in self._known.values():
            known.named.clear()
            known.dropped.clear()
        for mandate, opened in sorted(self._node.opened.items()):
            if opened.expelled:
                continue
            relays = opened.state.relays
            for device in relays.dropped():
                if device in self._known:
                    self._known[device].dropped.add(mandate)
            for device, texts in relays.used().items():
                addresses = readable(device, texts)
                room = device in self._known or len(self._known) < RELAYS_USED_MAX
                if addresses and room:
                    self._known.setdefault(device, Known(device)).named[mandate] = addresses
        for device, known in list(self._known.items()):
            if not known.is_needed:
                del self._known[device]
                known.state = None  # nobody is to be told of it later
                self._settle(known)

    def usable(self, addresses: Sequence[str]) -> Sequence[str]:
        """Leave out of a member's addresses those through relays that are not to be used."""
        dropped = {
            device
            for opened in self._node.opened.values()
            for device in opened.state.relays.dropped()
            if device not in self._known or not self._known[device].mandates
        }
        dropped -= {device for device, known in self._known.items() if known.own}
        return [each for each in addresses if not (dropped and _relay_of(each) in dropped)]

    # -- while the network is on --------------------------------------------------------------

    async def run(self, circuits: Circuits) -> None:
        """Keep reservations at all relays that are needed, until cancelled."""
        self._circuits = circuits
        kept: dict[bytes, tuple[trio.CancelScope, list[RelayAddress]]] = {}
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    self._changed = trio.Event()
                    needed = {known.device: known.addresses for known in self._needed()}
                    anew, self._anew = self._anew, False
                    for device, (scope, addresses) in list(kept.items()):
                        if anew or needed.get(device) != addresses:
                            scope.cancel()
                            del kept[device]
                    for device, addresses in needed.items():
                        if device not in kept:
                            scope = trio.CancelScope()
                            kept[device] = (scope, addresses)
                            self._known[device].state = None
                            nursery.start_soon(self._stay, scope, circuits, addresses)
                    self.tell_members()
                    await self._changed.wait()
        finally:
            self._circuits = None
            for known in self._known.values():
                known.state = None
                known.is_away = False

    async def _stay(
        self, scope: trio.CancelScope, circuits: Circuits, addresses: Sequence[RelayAddress]
    ) -> None:
        with scope:
            await circuits.keep(tuple(addresses))

    def _needed(self) -> list[Known]:
        shared = {opened.id for opened in self._node.opened.values() if opened.shared}
        if not shared:
            return []
        return [known for known in self._known.values() if known.own or known.mandates & shared]

    def renew(self) -> None:
        """Make all reservations anew, now: this machine is somewhere else."""
        self._anew = True
        self._changed.set()

    def tell_members(self) -> None:
        """Let the engine call the members of each shared mandate through its relays, too."""
        if self._circuits is None:
            return
        for opened in self._node.opened.values():
            if opened.shared:
                circuits = tuple(known.addresses[0].circuit for known in self._of(opened.id))
                if circuits:
                    for device in self._node.engine.expected(opened.id):
                        self._node.runner.feed(Sighted(device, circuits))

    # -- what people see ----------------------------------------------------------------------

    def on_states(self) -> None:
        """The state of a relay changed."""
        if self._circuits is None:
            return
        states = {state.device: state for state in self._circuits.states()}
        for known in self._known.values():
            state = states.get(known.device)
            before = known.state
            known.state = state
            if state is None or (before is not None and before.status == state.status):
                continue
            known.since_ms = wall_ms()
            if state.status == "reserved":
                known.is_away = False
                self._settle(known)
                self.tell_members()
            elif state.status == "refused":
                if known.refuses():
                    self._changed.set()  # it is called with another token
                else:
                    self._tell(known, state)
            elif not known.is_away:
                known.is_away = True
                known.absences += 1
                self._node.start_soon(partial(self._tell_later, known, known.absences))

    async def _tell_later(self, known: Known, absence: int) -> None:
        """Tell people of a relay that stays away; once for each time that it went."""
        await trio.sleep(self._unreachable_seconds)
        state = known.state
        if state is None or not known.is_away or known.absences != absence:
            return
        if state.status in ("unreachable", "connecting"):
            self._tell(known, state)

    def _tell(self, known: Known, state: RelayState) -> None:
        kind = RelayRefused if state.status == "refused" else RelayUnreachable
        error = kind(relay=known.addresses[0].place.for_people(), cause=state.cause)
        self._node.notices.alert("relay-away", error, action="check-relay", key=_key(known))

    def _settle(self, known: Known) -> None:
        self._node.notices.settle("relay-away", key=_key(known))


def _key(known: Known) -> str:
    return f"relay-away:{known.device.hex()}"


def _relay_of(address: str) -> bytes | None:
    """The relay that an address leads through."""
    try:
        found = parse_any(address)
    except BadInputError:
        return None
    return found.device if isinstance(found, CircuitAddress) else None
