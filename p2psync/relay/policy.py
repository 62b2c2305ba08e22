"""Who may use the relay, and how much: tokens, and what each of them has used today.

A device shows its token once a connection. What it may do ends when the token does.
"""

import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from p2psync.network.access import Access
from p2psync.network.circuit import Limit, Status
from p2psync.relay.circuits import OverLimit
from p2psync.relay.config import RelayConfig, Token

_DAY_SECONDS = 86_400
_EVERYBODY = Token("", "")
"""What devices without a token have at a relay for everybody."""


@dataclass(slots=True)
class Used:
    """What a token's devices carried on one day (days since 1970)."""

    day: int = 0
    bytes: int = 0


@dataclass(slots=True)
class TokenPolicy:
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
    _granted: dict[bytes, Token] = field(default_factory=dict)
    _origins: dict[bytes, str] = field(default_factory=dict)
    """From where each device reserved."""
    _used: dict[str, Used] = field(default_factory=dict)

    # -- tokens

    def show(self, device: bytes, secret: bytes) -> Access:
        """A device shows a token; an empty one means that it has none."""
        if not secret and self.config.open:
            self._granted.setdefault(device, _EVERYBODY)
            return Access.GRANTED
        found = None
        for token in self.config.tokens:
            # Every token is compared, so that the time tells nothing.
            if hmac.compare_digest(token.secret.encode(), secret):
                found = token
        if found is None:
            self.refused["token"] += 1
            return Access.UNKNOWN_TOKEN
        if self._is_over(found):
            self.refused["token"] += 1
            return Access.EXPIRED_TOKEN
        self._granted[device] = found
        return Access.GRANTED

    def gone(self, device: bytes) -> None:
        """The device's last connection ended: it shows its token again when it comes back."""
        self._granted.pop(device, None)
        self._origins.pop(device, None)

    def granted(self, device: bytes) -> Token | None:
        """By what the device may use the relay now; ``None`` when it may not."""
        token = self._granted.get(device)
        if token is None:
            return _EVERYBODY if self.config.open else None
        return None if self._is_over(token) else token

    def _is_over(self, token: Token) -> bool:
        return token.expires is not None and token.expires <= self.now()

    # -- the policy

    def may_reserve(self, device: bytes, origin: str) -> Status:
        """Let in who has a token, up to what the token, the relay and one address may have."""
        if self.closing:
            return Status.RESERVATION_REFUSED
        token = self.granted(device)
        if token is None:
            return self._no("reservation", Status.PERMISSION_DENIED)
        if self.is_reserved(device) and self._origins.get(device) == origin:
            return Status.OK
        others = self._granted.keys() - {device}
        reserved = [each for each in others if self.is_reserved(each)]
        if len(reserved) >= self.config.devices_max:
            return self._no("reservation", Status.RESOURCE_LIMIT_EXCEEDED)
        if token.devices_max:
            of_token = sum(self._granted[each].name == token.name for each in reserved)
            if of_token >= token.devices_max:
                return self._no("reservation", Status.RESOURCE_LIMIT_EXCEEDED)
        of_origin = sum(self._origins.get(each) == origin for each in reserved)
        if of_origin >= self.config.devices_per_address_max:
            return self._no("address", Status.RESOURCE_LIMIT_EXCEEDED)
        self._granted.setdefault(device, token)
        self._origins[device] = origin
        return Status.OK

    def may_connect(self, source: bytes, target: bytes) -> Status:
        """Pass on between devices that were both let in."""
        if self.closing:
            return Status.CONNECTION_FAILED
        token = self.granted(source)
        if token is None or self.granted(target) is None:
            return self._no("circuit", Status.PERMISSION_DENIED)
        if self.circuits_of(source) >= self.config.circuits_per_device_max:
            return self._no("circuit", Status.RESOURCE_LIMIT_EXCEEDED)
        if token.day_bytes_max and self.used(token) >= token.day_bytes_max:
            return self._no("quota", Status.RESOURCE_LIMIT_EXCEEDED)
        return Status.OK

    def limit(self, source: bytes, target: bytes) -> Limit:
        """One circuit's bounds."""
        return Limit(self.config.circuit_seconds, self.config.circuit_bytes)

    def carried(self, source: bytes, target: bytes, count: int) -> None:
        """Count against the token of who called; raises ``OverLimit`` when its day is used up."""
        self.carried_bytes += count
        token = self.granted(source)
        if token is None or self.granted(target) is None:
            raise OverLimit("the token has expired")
        used = self._today(token)
        used.bytes += count
        if token.day_bytes_max and used.bytes > token.day_bytes_max:
            self.refused["quota"] += 1
            raise OverLimit("the token's bytes of today are used up")

    def used(self, token: Token) -> int:
        """Bytes that a token's devices carried today (UTC)."""
        return self._today(token).bytes

    def _today(self, token: Token) -> Used:
        today = int(self.now()) // _DAY_SECONDS
        used = self._used.setdefault(token.name, Used(today))
        if used.day != today:
            used.day, used.bytes = today, 0
        return used

    def _no(self, what: str, status: Status) -> Status:
        self.refused[what] += 1
        return status
