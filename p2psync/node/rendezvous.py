"""Leaves this device's addresses at relays for members, and looks there for theirs (B-NET-2).

What a relay gets are tags that change every week and sealed records of one size
(``network.rendezvous``). What comes back is a hint: whoever answers at an address proves itself in
the handshake. A device leaves its record under the key of the epoch that it writes in alone, so
that who was removed finds nothing new; it looks under older keys too, for members that were away.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

import trio

from p2psync import limits
from p2psync.core.crypto import NONCE_BYTES
from p2psync.engine.effects import Sighted
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadInputError, RelayUnknown
from p2psync.network import access, rendezvous
from p2psync.network.address import TOKEN, parse_relay
from p2psync.network.circuits import Circuits
from p2psync.network.connection import Connection
from p2psync.network.identity import device_of_peer_id, peer_id_text
from p2psync.network.link import circuit_of
from p2psync.network.negotiation import NotSpoken
from p2psync.network.rendezvous import Record
from p2psync.node import find
from p2psync.node.opened import Opened

if TYPE_CHECKING:
    from p2psync.node.node import Node

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""How often a relay is asked at most, give or take a quarter."""
RENEW_SECONDS = limits.RENDEZVOUS_KEPT_SECONDS / 3
NEAR_SECONDS = limits.RENDEZVOUS_KEPT_SECONDS
"""So near to the turn of a week the other week counts, too: clocks differ, and records last."""
SILENT_SECONDS = 3600.0
"""So long a relay that does not know rendezvous is not asked again."""


class Rendezvous:
    """What one node leaves and looks for at its relays.

    ``look_seconds``: how often; ``now``: the seconds since 1970.
    """

    def __init__(
        self,
        node: "Node",
        *,
        look_seconds: float = LOOK_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._look_seconds = look_seconds
        self._now = now
        self._wake = trio.Event()
        self._left: dict[tuple[bytes, bytes], tuple[tuple[str, ...], float]] = {}
        """By relay and tag: which addresses were left there, and when."""
        self._later: dict[bytes, float] = {}
        """Until when a relay is left alone, on trio's clock."""
        self._looked: dict[bytes, float] = {}
        """When each relay was asked last, on trio's clock."""
        self._made: dict[bytes, int] = {}
        """When the newest record of each device was made: older ones are no news."""

    # -- what a relay is shown ------------------------------------------------------------------

    def groups(self, relay: bytes) -> tuple[bytes, ...]:
        """What the mandates here are called at a relay: those whose members use it.

        At a relay that only members named for themselves: those of which it has to do with one.
        """
        shared = [opened for opened in self._node.opened.values() if opened.shared]
        users = [each for each in shared if relay in self._node.relays.of(each.id)]
        found = {
            access.group(each.id, each.row.genesis, relay)
            for each in users or [each for each in shared if self._leads_to_one(relay, each)]
            if each.row.genesis is not None
        }
        return tuple(sorted(found))[: limits.RELAY_GROUPS_PER_DEVICE_MAX]

    def _leads_to_one(self, relay: bytes, opened: Opened) -> bool:
        """Whether a device of a mandate is known to be reached through a relay."""
        circuit, engine = circuit_of(relay), self._node.engine
        return any(
            circuit in address
            for device in engine.expected(opened.id)
            for address in engine.known_addresses(device)
        )

    def group(self, mandate: str, relay: str) -> dict[str, str]:
        """What a mandate is called at a relay, for the relay's operator.

        ``relay`` is its host, an end of its peer ID, or an address that need not be in use here.
        Raises ``RelayUnknown``, and what finding a mandate raises.
        """
        opened = find.mandate(self._node.opened.values(), mandate)
        device = self._relay(relay)
        group = access.group(opened.id, opened.row.genesis or opened.replica.opening()[0], device)
        return {
            "mandate": opened.name,
            "relay": peer_id_text(device),
            "group": access.group_text(group),
        }

    def _relay(self, text: str) -> bytes:
        if "/" in text:
            try:
                return parse_relay(text).device
            except BadInputError:
                raise RelayUnknown(relay=text.partition(f"/{TOKEN}/")[0][:80]) from None
        found = [
            each["peer"]
            for each in self._node.relays.view()["relays"]
            if text in each["address"].split("/")
            or (len(text) >= 6 and (each["peer"].startswith(text) or each["peer"].endswith(text)))
        ]
        if len(found) != 1:
            raise RelayUnknown(relay=text[:80])
        return device_of_peer_id(found[0])

    # -- while the network is on ----------------------------------------------------------------

    def wake(self) -> None:
        """A relay, a mandate or an address is another one."""
        self._wake.set()

    async def run(self, circuits: Circuits) -> None:
        """Leave and look until cancelled."""
        self._left.clear()
        self._later.clear()
        self._looked.clear()
        while True:
            self._wake = trio.Event()
            for state in circuits.states():
                if state.status == "reserved":
                    try:
                        await self._visit(circuits, state.device)
                    except (LinkBroken, OSError) as error:
                        logger.debug("no rendezvous: %s", error)
            with trio.move_on_after(self._look_seconds * random.uniform(0.75, 1.25)):  # noqa: S311 - no secret
                await self._wake.wait()

    async def _visit(self, circuits: Circuits, relay: bytes) -> None:
        mandates = [
            opened
            for opened in self._node.opened.values()
            if opened.shared and relay in self._node.relays.of(opened.id)
        ]
        place = circuits.standing(relay)
        if place is None or not mandates:
            return
        # Shows the relay a mandate that is new here, too.
        connection = await circuits.connection(place, relay)
        if trio.current_time() < self._later.get(relay, 0.0):
            return
        try:
            full = await self._leave_all(connection, relay, mandates)
            if trio.current_time() >= self._looked.get(relay, -inf) + 0.7 * self._look_seconds:
                here = filter(self._is_here, mandates)
                wanted = [(opened, self._missing(opened)) for opened in here]
                await self._look(connection, relay, [each for each in wanted if each[1]])
                self._looked[relay] = trio.current_time()
            if full is not None:
                raise full
        except NotSpoken:
            self._later[relay] = trio.current_time() + SILENT_SECONDS
        except rendezvous.Refused:
            self._later[relay] = trio.current_time() + self._look_seconds

    def _is_here(self, opened: Opened) -> bool:
        """Whether a mandate was not removed while a relay was waited for."""
        is_listed = self._node.opened.get(opened.id) is opened
        return is_listed and self._node.engine.holds(opened.id)

    async def _leave_all(
        self, connection: Connection, relay: bytes, mandates: Sequence[Opened]
    ) -> rendezvous.Refused | None:
        """Leave this device's addresses for each mandate; returns that the relay has no room."""
        for opened in mandates:
            try:
                if self._is_here(opened):
                    await self._leave(connection, relay, opened)
            except rendezvous.Refused as error:
                if error.status != rendezvous.Status.FULL:
                    raise
                return error  # what others left there can be read all the same
        return None

    async def _leave(self, connection: Connection, relay: bytes, opened: Opened) -> None:
        """Have the relay keep where this device is, unless it does."""
        key, now = opened.replica.discovery_key, self._now()
        addresses = self._node.addresses()
        week = rendezvous.week_of(now)
        where = rendezvous.tag(key, relay, week)
        left = self._left.get((relay, where))
        if not addresses or (left and left[0] == addresses and now - left[1] < RENEW_SECONDS):
            return
        record = rendezvous.sign(self._node.identity.signer, int(now * 1000), addresses)
        nonce = self._node.entropy(NONCE_BYTES)
        await rendezvous.put(connection, where, rendezvous.seal(record, key, relay, week, nonce))
        self._left = {
            each: said for each, said in self._left.items() if now - said[1] < 2 * RENEW_SECONDS
        }
        self._left[(relay, where)] = (addresses, now)

    def _missing(self, opened: Opened) -> set[bytes]:
        """Members of a mandate that no link is up with."""
        online = {peer.device for peer in self._node.engine.peers(opened.id) if peer.online}
        return set(self._node.engine.expected(opened.id)) - online

    async def _look(
        self, connection: Connection, relay: bytes, wanted: Sequence[tuple[Opened, set[bytes]]]
    ) -> None:
        """Ask for what members left that are missing."""
        now = self._now()
        near = {rendezvous.week_of(now + each) for each in (0, -NEAR_SECONDS, NEAR_SECONDS)}
        asked = [
            (opened, devices, key, week)
            for opened, devices in wanted
            for key in opened.replica.offered_keys
            for week in sorted(near)
        ]
        step = limits.RENDEZVOUS_TAGS_ASKED_MAX
        for start in range(0, len(asked), step):
            part = asked[start : start + step]
            tags = [rendezvous.tag(key, relay, week) for _, _, key, week in part]
            answer = await rendezvous.ask(connection, tags)
            for (opened, devices, key, week), sealed in zip(part, answer, strict=True):
                for each in sealed:
                    record = rendezvous.open_sealed(each, key, relay, week, int(now * 1000))
                    if record is not None and record.device in devices:
                        self._found(opened, record)

    def _found(self, opened: Opened, record: Record) -> None:
        """Tell the engine where a member is, unless something newer was found before."""
        if record.made_ms < self._made.get(record.device, 0) or not record.addresses:
            return
        self._made[record.device] = record.made_ms
        self._node.runner.feed(Sighted(record.device, record.addresses, (opened.id,)))
