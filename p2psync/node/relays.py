"""The relays that this node uses: which, for which mandates, and how each of them is (B-NET-2).

They come from people (``p2psync relay add``) and from tickets. Reservations are kept while the
network is on and a mandate is shared; members are then called through them, too.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from p2psync.core.ticket import Ticket, TicketPeer
from p2psync.engine.effects import Sighted
from p2psync.errors import (
    BadAddress,
    BadInputError,
    RelayAddressInvalid,
    RelayRefused,
    RelaysTooMany,
    RelayUnknown,
    RelayUnreachable,
)
from p2psync.limits import RELAYS_MAX, TICKET_ADDRESSES_PER_PEER_MAX, TICKET_PEERS_MAX
from p2psync.network.address import RelayAddress, parse_relay
from p2psync.network.circuits import Circuits, RelayState
from p2psync.network.identity import peer_id_text
from p2psync.node import views
from p2psync.node.opened import Opened
from p2psync.node.runner import wall_ms

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
_SETTING = "relays"
UNREACHABLE_SECONDS = 60.0
"""So long a relay may be away before people are told."""


@dataclass(slots=True)
class Known:
    """One relay: where it is, whether this node's person chose it, which mandates' tickets did."""

    addresses: list[RelayAddress]
    own: bool = False
    mandates: set[bytes] = field(default_factory=set)
    state: RelayState | None = None
    since_ms: int = 0

    @property
    def device(self) -> bytes:
        """Its peer, a key of 32 bytes."""
        return self.addresses[0].device


class Relays:
    """All relays of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._known: dict[bytes, Known] = {}
        self._changed = trio.Event()
        self._circuits: Circuits | None = None

    async def load(self) -> None:
        """Learn which relays there are."""
        for said in json.loads(await self._node.store.setting(_SETTING) or "[]"):
            addresses = [parse_relay(text) for text in said["addresses"]]
            mandates = {bytes.fromhex(mandate) for mandate in said["mandates"]}
            known = Known(addresses, said["own"], mandates)
            self._known[known.device] = known

    async def _keep(self) -> None:
        said = [
            {
                "addresses": [str(address) for address in known.addresses],
                "own": known.own,
                "mandates": sorted(mandate.hex() for mandate in known.mandates),
            }
            for known in self._known.values()
        ]
        await self._node.store.put_setting(_SETTING, json.dumps(said))

    # -- commands -----------------------------------------------------------------------------

    async def add(self, text: str) -> Json:
        """Use a relay; a known one gets another address or token."""
        self._node.check_writable()
        try:
            address = parse_relay(text)
        except BadAddress as error:
            raise RelayAddressInvalid(cause=error.params["cause"]) from None
        except BadInputError as error:
            raise RelayAddressInvalid(cause=error.text) from None
        self._check_room([address.device])
        self._learn(address).own = True
        await self._keep()
        self._changed.set()
        return self._view(self._known[address.device])

    async def remove(self, text: str) -> Json:
        """Use a relay no more, whoever named it."""
        self._node.check_writable()
        found = [known for known in self._known.values() if _answers(known, text)]
        if len(found) != 1:
            raise RelayUnknown(relay=text[:80])
        (known,) = found
        del self._known[known.device]
        await self._keep()
        self._settle(known)
        self._changed.set()
        return {"peer": peer_id_text(known.device)}

    def view(self) -> Json:
        """Each relay, and how it stands with it."""
        return {"relays": [self._view(known) for known in self._known.values()]}

    def host_of(self, device: bytes) -> str:
        """A relay's host, for people; its peer ID when this node does not know it."""
        known = self._known.get(device)
        return peer_id_text(device) if known is None else known.addresses[0].place.host

    def _view(self, known: Known) -> Json:
        opened = (self._node.opened.get(mandate) for mandate in sorted(known.mandates))
        state = known.state
        shown: Json = {
            "peer": peer_id_text(known.device),
            "address": str(known.addresses[0].place),
            "own": known.own,
            "mandates": [each.name for each in opened if each is not None],
            "state": "off" if state is None else state.status,
            "since": views.iso(known.since_ms) if known.since_ms else None,
        }
        if state is not None and state.cause:
            shown["cause"] = state.cause
        return shown

    # -- tickets ------------------------------------------------------------------------------

    def for_ticket(self, opened: Opened) -> tuple[TicketPeer, ...]:
        """What a ticket of a mandate says of relays."""
        return tuple(
            TicketPeer(
                known.device,
                tuple(str(each) for each in known.addresses[:TICKET_ADDRESSES_PER_PEER_MAX]),
            )
            for known in self._of(opened.id)
        )[:TICKET_PEERS_MAX]

    async def take(self, read: Ticket) -> None:
        """Learn the relays that a ticket names; what is no address of a relay is left out."""
        named: list[RelayAddress] = []
        for peer in read.relays:
            for text in peer.addresses:
                try:
                    address = parse_relay(text)
                except BadInputError:
                    continue
                if address.device == peer.device:
                    named.append(address)
        for address in named:
            if address.device in self._known or len(self._known) < RELAYS_MAX:
                self._learn(address).mandates.add(read.mandate)
        if named:
            await self._keep()
            self._changed.set()

    async def forget(self, mandate: bytes) -> None:
        """A mandate is no concern of this node any more."""
        touched = [known for known in self._known.values() if mandate in known.mandates]
        for known in touched:
            known.mandates.discard(mandate)
            if not known.own and not known.mandates:
                del self._known[known.device]
                self._settle(known)
        if touched:
            await self._keep()
            self._changed.set()

    def _learn(self, address: RelayAddress) -> Known:
        known = self._known.get(address.device)
        if known is None:
            known = self._known[address.device] = Known([address])
        else:
            # The latest first; a new token goes for all its addresses.
            others = [each for each in known.addresses if each.place != address.place]
            known.addresses = [
                address,
                *(RelayAddress(each.place, each.device, address.token) for each in others),
            ][:TICKET_ADDRESSES_PER_PEER_MAX]
        return known

    def _check_room(self, devices: Iterable[bytes]) -> None:
        if len(self._known.keys() | set(devices)) > RELAYS_MAX:
            raise RelaysTooMany(most=RELAYS_MAX)

    def _of(self, mandate: bytes) -> list[Known]:
        """The relays by which members of a mandate are reached."""
        return [known for known in self._known.values() if known.own or mandate in known.mandates]

    # -- while the network is on --------------------------------------------------------------

    async def run(self, circuits: Circuits) -> None:
        """Keep reservations at all relays that are needed, until cancelled."""
        self._circuits = circuits
        kept: dict[bytes, tuple[trio.CancelScope, list[RelayAddress]]] = {}
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    self._changed = trio.Event()
                    needed = {known.device: known for known in self._needed()}
                    for device, (scope, addresses) in list(kept.items()):
                        if device not in needed or needed[device].addresses != addresses:
                            scope.cancel()
                            del kept[device]
                    for device, known in needed.items():
                        if device not in kept:
                            scope = trio.CancelScope()
                            kept[device] = (scope, list(known.addresses))
                            nursery.start_soon(self._stay, scope, circuits, known.addresses)
                    self.tell_members()
                    await self._changed.wait()
        finally:
            self._circuits = None
            for known in self._known.values():
                known.state = None

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

    def look_again(self) -> None:
        """A mandate came, went, or was shared."""
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
                self._settle(known)
                self.tell_members()
            elif state.status == "refused":
                self._tell(known, state)
            elif before is None or before.status == "reserved":
                self._node.start_soon(partial(self._tell_later, known))

    async def _tell_later(self, known: Known) -> None:
        await trio.sleep(UNREACHABLE_SECONDS)
        state = known.state
        away = wall_ms() - known.since_ms >= UNREACHABLE_SECONDS * 1000
        if state is not None and away and state.status in ("unreachable", "connecting"):
            self._tell(known, state)

    def _tell(self, known: Known, state: RelayState) -> None:
        kind = RelayRefused if state.status == "refused" else RelayUnreachable
        error = kind(relay=known.addresses[0].place.for_people(), cause=state.cause)
        self._node.notices.alert("relay-away", error, action="check-relay", key=_key(known))

    def _settle(self, known: Known) -> None:
        self._node.notices.settle("relay-away", key=_key(known))


def _key(known: Known) -> str:
    return f"relay-away:{known.device.hex()}"


def _answers(known: Known, text: str) -> bool:
    peer = peer_id_text(known.device)
    hosts = {address.place.host for address in known.addresses}
    return text in hosts or (len(text) >= 6 and (peer.startswith(text) or peer.endswith(text)))
