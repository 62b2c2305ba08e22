"""One relay that this node uses: who named it, and at which addresses it is called.

What this node's person said goes first, then what the mandates say, then tickets. All its addresses
are called with one token: the first that the relay is not known to refuse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2psync.errors import BadInputError
from p2psync.limits import RELAY_ADDRESSES_MAX
from p2psync.network.address import RelayAddress, parse_relay
from p2psync.network.circuits import RelayState
from p2psync.network.identity import peer_id_text


@dataclass(slots=True)
class Known:
    """A relay (key of 32 bytes), and what is known of it."""

    device: bytes
    kept: list[RelayAddress] = field(default_factory=list)
    """What this node's person and tickets say, the latest first."""
    own: bool = False
    """Whether this node's person chose it."""
    tickets: set[bytes] = field(default_factory=set)
    """Mandates whose tickets named it."""
    named: dict[bytes, list[RelayAddress]] = field(default_factory=dict)
    """What each mandate says that names it for all its members."""
    dropped: set[bytes] = field(default_factory=set)
    """Mandates that say that it is not to be used, whatever their tickets say."""
    refused: set[str] = field(default_factory=set)
    """Tokens that it refuses."""
    state: RelayState | None = None
    since_ms: int = 0
    is_away: bool = False
    """Whether it was neither in use nor refused this device since it last was."""
    absences: int = 0

    @property
    def mandates(self) -> frozenset[bytes]:
        """The mandates whose members are reached by it."""
        return frozenset((self.tickets - self.dropped) | self.named.keys())

    @property
    def is_needed(self) -> bool:
        """Whether anybody names it."""
        return self.own or bool(self.tickets) or bool(self.named)

    @property
    def addresses(self) -> list[RelayAddress]:
        """Where it is called, all with one token; the most trusted source first."""
        named = [each for mandate in sorted(self.named) for each in self.named[mandate]]
        every = [*self.kept, *named] if self.own else [*named, *self.kept]
        tokens = list(dict.fromkeys(each.token for each in every))
        token = next((each for each in tokens if each not in self.refused), tokens[0])
        places = dict.fromkeys(
            each.place for each in sorted(every, key=lambda each: each.token != token)
        )
        return [RelayAddress(place, self.device, token) for place in places][:RELAY_ADDRESSES_MAX]

    def learn(self, address: RelayAddress) -> None:
        """Take an address of a person or a ticket: the latest first, its token for all of them."""
        self.kept = renewed(self.kept, address)
        self.refused.discard(address.token)

    def refuses(self) -> bool:
        """Note that it refused the token that it was called with; tell whether there is another."""
        self.refused.add(self.addresses[0].token)
        return self.addresses[0].token not in self.refused

    def answers(self, text: str) -> bool:
        """Whether a person may mean it: by its host, or either end of its peer ID."""
        peer = peer_id_text(self.device)
        hosts = {address.place.host for address in self.addresses}
        return text in hosts or (len(text) >= 6 and (peer.startswith(text) or peer.endswith(text)))


def renewed(known: Sequence[RelayAddress], address: RelayAddress) -> list[RelayAddress]:
    """Put an address in front of those that are known; its token goes for all of them."""
    others = [each for each in known if each.place != address.place]
    return [
        address,
        *(RelayAddress(each.place, each.device, address.token) for each in others),
    ][:RELAY_ADDRESSES_MAX]


def readable(relay: bytes, texts: Iterable[str]) -> list[RelayAddress]:
    """Parse what others say of a relay (key of 32 bytes); what is no address of it is left out."""
    found: list[RelayAddress] = []
    for text in texts:
        try:
            address = parse_relay(text)
        except BadInputError:
            continue
        if address.device == relay:
            found.append(address)
    return found
