"""Relays without a network: which are kept reservations at, and what each answers."""

from collections.abc import Callable, Sequence

import trio

from p2psync.network.address import RelayAddress
from p2psync.network.circuits import Circuits, RelayState, RelayStatus
from p2psync.network.connection import Connection


async def _nowhere(*_: object) -> Connection:
    raise OSError("there is no network")


class FakeCircuits(Circuits):
    """Notes where reservations are kept; every relay lets in who shows a token of ``valid``."""

    def __init__(self, changed: Callable[[], None], valid: Sequence[str] = ()) -> None:
        super().__init__(_nowhere, changed)
        self.valid = set(valid)
        self.kept: dict[bytes, tuple[str, ...]] = {}
        self.begun = 0
        """How many reservations were made so far."""
        self._changed_here = changed
        self._now_there: dict[bytes, RelayState] = {}
        self._current: dict[bytes, object] = {}

    def states(self) -> tuple[RelayState, ...]:
        return tuple(self._now_there.values())

    def say(self, relay: bytes, status: RelayStatus, cause: str = "") -> None:
        """Have it stand so with a relay."""
        self._now_there[relay] = RelayState(relay, status, trio.current_time(), cause)
        self._changed_here()

    async def keep(self, addresses: Sequence[RelayAddress]) -> None:
        relay = addresses[0].device
        mine = self._current[relay] = object()
        self.kept[relay] = tuple(str(each) for each in addresses)
        self.begun += 1
        known = addresses[0].token in self.valid or not self.valid
        self.say(relay, "reserved" if known else "refused", "" if known else "not known")
        try:
            await trio.sleep_forever()
        finally:
            if self._current.get(relay) is mine:
                for each in (self._current, self.kept, self._now_there):
                    each.pop(relay, None)
