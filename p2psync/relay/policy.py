"""Who may use the relay, and how much: tokens, groups, and what each of them has used today.

A device shows a token and its groups (what its mandates are called here) once a connection. It is
let in by a token of the operator's, or by a group that the operator named. Circuits join devices
that have a group or a token in common.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from p2psync.network.access import Access, Shown
from p2psync.network.circuit import Limit, Status
from p2psync.relay.circuits import OverLimit
from p2psync.relay.config import Group, RelayConfig, Token
from p2psync.relay.quotas import Account, Quotas

_EVERYBODY = Token("", "")
"""What devices without a token have at a relay for everybody."""


@dataclass(frozen=True, slots=True)
class Grant:
    """By what a device may use the relay: a token, groups of 16 bytes, or both."""

    token: Token | None
    groups: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """What a reservation counts for: a token (by name), groups, an address."""

    token: str | None
    groups: frozenset[bytes]
    origin: str


@dataclass(slots=True)
class Passage:
    """One circuit that was let through, and what it counts for."""

    policy: "AccessPolicy"
    source: bytes
    target: bytes
    accounts: tuple[Account, ...]
    limit: Limit

    def carried(self, count: int) -> None:
        """Count bytes that are passed on; raises ``OverLimit`` when that is to end."""
        self.policy.count(self, count)

    def end(self) -> None:
        """The circuit is over."""
        self.policy.quotas.closed(self.accounts)


@dataclass(slots=True)
class AccessPolicy:
    """The ``Policy`` of a relay; ``now`` gives the seconds since 1970."""

    config: RelayConfig
    now: Callable[[], float]
    is_reserved: Callable[[bytes], bool] = lambda _: False
    circuits_of: Callable[[bytes], int] = lambda _: 0
    closing: bool = False
    """Nothing new is let in: the relay stops."""
    carried_bytes: int = 0
    """Passed on since the start."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals since the start, by what was refused."""
    quotas: Quotas = field(init=False)
    _granted: dict[bytes, Grant] = field(default_factory=dict)
    _places: dict[bytes, Place] = field(default_factory=dict)
    """By what each device reserved."""
    _listed: dict[bytes, Group] = field(init=False)
    _tokens: dict[bytes, Token] = field(init=False)
    """By name."""

    def __post_init__(self) -> None:
        self.quotas = Quotas(self.now)
        self._index()

    def _index(self) -> None:
        self._listed = {group.group: group for group in self.config.groups}
        self._tokens = {token.name.encode(): token for token in self.config.tokens}

    # -- who is let in

    def show(self, device: bytes, shown: Shown) -> Access:
        """A device shows a token, perhaps an empty one, and its groups."""
        token, status = self._token(device, shown.token)
        grant = Grant(token, shown.groups)
        if self._holds(grant) is None:
            self.refused["token"] += 1
            return status
        self._granted[device] = grant
        return Access.GRANTED

    def _token(self, device: bytes, secret: bytes) -> tuple[Token | None, Access]:
        if not secret and self.config.open:
            before = self._granted.get(device)
            return (before and before.token) or _EVERYBODY, Access.GRANTED
        found = None
        for token in self.config.tokens:
            # Every token is compared, so that the time tells nothing.
            if hmac.compare_digest(token.secret.encode(), secret):
                found = token
        if found is None:
            return None, Access.UNKNOWN_TOKEN
        return found, Access.EXPIRED_TOKEN if self._is_over(found) else Access.GRANTED

    def gone(self, device: bytes) -> None:
        """The device's last connection ended: it shows its token again when it comes back."""
        self._granted.pop(device, None)
        self._places.pop(device, None)

    def granted(self, device: bytes) -> Grant | None:
        """By what the device may use the relay now; ``None`` when it may not."""
        grant = self._granted.get(device)
        if grant is None:
            return Grant(_EVERYBODY) if self.config.open else None
        return self._holds(grant)

    def _holds(self, grant: Grant) -> Grant | None:
        """What is left of a grant now."""
        token = grant.token
        if token is _EVERYBODY or (token is not None and self._is_over(token)):
            token = None
        if token is None and self.config.open:
            token = _EVERYBODY
        if token is None and not self._named(grant.groups):
            return None
        return grant if token is grant.token else replace(grant, token=token)

    def _named(self, groups: Iterable[bytes]) -> bool:
        """Whether one of the groups is let in by the operator."""
        return any(
            not self._is_over(self._listed[group]) for group in groups if group in self._listed
        )

    def _is_over(self, allowed: Token | Group) -> bool:
        return allowed.expires is not None and allowed.expires <= self.now()

    # -- reservations

    def may_reserve(self, device: bytes, origin: str) -> Status:
        """Let in whom a token or group lets in, up to what these, the relay and one address may
        have; a group that has no room is left out."""
        if self.closing:
            return self._no("reservation", Status.RESERVATION_REFUSED)
        grant = self.granted(device)
        if grant is None:
            return self._no("reservation", Status.PERMISSION_DENIED)
        token, groups = grant.token, grant.groups
        name = None if token is None else token.name
        if self._places.get(device) == Place(name, groups, origin) and self.is_reserved(device):
            return Status.OK
        others = [
            place
            for each, place in self._places.items()
            if each != device and self.is_reserved(each)
        ]
        if len(others) >= self.config.devices_max:
            return self._no("reservation", Status.RESOURCE_LIMIT_EXCEEDED)
        if sum(each.origin == origin for each in others) >= self.config.devices_per_address_max:
            return self._no("address", Status.RESOURCE_LIMIT_EXCEEDED)
        most = 0 if token is None else token.devices_max
        if most and sum(each.token == name for each in others) >= most:
            token, name = None, None
        groups = frozenset(group for group in groups if self._may_count(group, others))
        if token is None and not self._named(groups):
            return self._no("reservation", Status.RESOURCE_LIMIT_EXCEEDED)
        self._granted.setdefault(device, grant)
        self._places[device] = Place(name, groups, origin)
        return Status.OK

    def _may_count(self, group: bytes, others: Iterable[Place]) -> bool:
        most = self._group(group).devices_max
        return not most or sum(group in each.groups for each in others) < most

    def _group(self, group: bytes) -> Group:
        return self._listed.get(group, self.config.others)

    # -- circuits

    def may_connect(self, source: bytes, target: bytes, origin: str) -> Status | Passage:
        """Pass on between devices that were both let in, and have a group or token in common."""
        if self.closing:
            return Status.CONNECTION_FAILED
        ours, theirs = self.granted(source), self.granted(target)
        if ours is None or theirs is None:
            return self._no("circuit", Status.PERMISSION_DENIED)
        place = self._places.get(target)
        common = ours.groups & (theirs.groups if place is None else place.groups)
        alike = ours.token is not None and ours.token is theirs.token
        if not common and not alike:
            return self._no("circuit", Status.PERMISSION_DENIED)
        if self.circuits_of(source) >= self.config.circuits_per_device_max:
            return self._no("circuit", Status.RESOURCE_LIMIT_EXCEEDED)
        accounts = [Account("address", origin.encode())]
        if ours.token is not None and ours.token is not _EVERYBODY:
            accounts.append(Account("token", ours.token.name.encode()))
        if common:
            # Those that the operator named come first, so that their quotas hold.
            ordered = sorted(common, key=lambda group: (group not in self._listed, group))
            usable = [each for each in ordered if self._has_room(Account("group", each))]
            if not usable:
                return self._no("quota", Status.RESOURCE_LIMIT_EXCEEDED)
            accounts.append(Account("group", usable[0]))
        if not all(map(self._has_room, accounts)):
            return self._no("quota", Status.RESOURCE_LIMIT_EXCEEDED)
        self.quotas.opened(accounts)
        return Passage(self, source, target, tuple(accounts), self.limit())

    def limit(self) -> Limit:
        """One circuit's bounds."""
        return Limit(self.config.circuit_seconds, self.config.circuit_bytes)

    def count(self, passage: Passage, count: int) -> None:
        """Count bytes of a circuit; raises ``OverLimit`` when it is to end."""
        self.carried_bytes += count
        if self.granted(passage.source) is None or self.granted(passage.target) is None:
            raise OverLimit("the relay does not let the device in any more")
        for account in passage.accounts:
            total = self.quotas.add(account, count)
            most = self._most(account)[1]
            if most and total > most:
                self.refused["quota"] += 1
                raise OverLimit("the bytes of today are used up")

    def _has_room(self, account: Account) -> bool:
        circuits_max, day_bytes_max = self._most(account)
        return not (
            (circuits_max and self.quotas.open[account] >= circuits_max)
            or (day_bytes_max and self.quotas.carried(account) >= day_bytes_max)
        )

    def _most(self, account: Account) -> tuple[int, int]:
        """Circuits at once and bytes a day; 0 is no limit."""
        allowed: Token | Group | None
        match account.kind:
            case "address":
                return self.config.circuits_per_address_max, self.config.address_day_bytes_max
            case "token":
                allowed = self._tokens.get(account.key)
            case "group":
                allowed = self._group(account.key)
        return (0, 0) if allowed is None else (allowed.circuits_max, allowed.day_bytes_max)

    def devices_by(self, account: Account) -> int:
        """How many devices have a reservation that counts for a token or group."""
        places = [place for each, place in self._places.items() if self.is_reserved(each)]
        if account.kind == "token":
            return sum(place.token == account.key.decode() for place in places)
        return sum(account.key in place.groups for place in places)

    def groups_here(self) -> int:
        """How many groups devices with a reservation have."""
        places = [place for each, place in self._places.items() if self.is_reserved(each)]
        return len({group for place in places for group in place.groups})

    # -- what lasts, and what changes

    def place(self, device: bytes) -> tuple[Grant, Place] | None:
        """By what a device with a reservation has it."""
        grant, place = self._granted.get(device), self._places.get(device)
        return None if grant is None or place is None else (grant, place)

    def restore(self, device: bytes, grant: Grant, place: Place) -> bool:
        """Let a device keep the place that it had before a restart, unless it may not any more."""
        if self._holds(grant) is None:
            return False
        self._granted[device] = grant
        self._places[device] = place
        return True

    def reload(self, config: RelayConfig) -> list[bytes]:
        """Go on under other settings; returns the devices that are let in no more."""
        self.config = config
        self._index()
        tokens = {token.secret: token for token in config.tokens}
        gone = []
        for device, before in list(self._granted.items()):
            token = before.token
            if token is not None and token is not _EVERYBODY:
                token = tokens.get(token.secret)
            grant = replace(before, token=token)
            self._granted[device] = grant
            place = self._places.get(device)
            if place is not None and place.token is not None:
                name = None if token is None else token.name
                self._places[device] = replace(place, token=name)
            if self._holds(grant) is None:
                gone.append(device)
        return gone

    def _no(self, what: str, status: Status) -> Status:
        self.refused[what] += 1
        return status
