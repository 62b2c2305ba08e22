"""What was used: circuits that are open, and bytes of today, by token, group and address."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from p2psync import limits

DAY_SECONDS = 86_400

Kind = Literal["token", "group", "address"]


@dataclass(frozen=True, slots=True)
class Account:
    """What use is counted by: a token's name, a group's 16 bytes, or an address as text."""

    kind: Kind
    key: bytes


@dataclass(frozen=True, slots=True)
class Used:
    """Bytes that were carried for an account on one day (days since 1970, UTC)."""

    account: Account
    day: int
    count: int


class Quotas:
    """All counts of one relay; ``now`` gives the seconds since 1970.

    Of more than ``limits.RELAY_ACCOUNTS_MAX`` accounts those that used least are forgotten.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._today = 0
        self._carried: Counter[Account] = Counter()
        self.open: Counter[Account] = Counter()
        """Circuits that are open now."""

    def carried(self, account: Account) -> int:
        """Bytes of today."""
        self._turn_day()
        return self._carried[account]

    def add(self, account: Account, count: int) -> int:
        """Count bytes; returns those of today."""
        self._turn_day()
        total = self._carried[account] + count
        self._carried[account] = total
        if len(self._carried) > limits.RELAY_ACCOUNTS_MAX:
            self._carried = Counter(dict(self._carried.most_common(limits.RELAY_ACCOUNTS_MAX // 2)))
        return total

    def opened(self, accounts: Iterable[Account]) -> None:
        """A circuit was opened."""
        self.open.update(accounts)

    def closed(self, accounts: Iterable[Account]) -> None:
        """A circuit has ended."""
        self.open -= Counter(accounts)

    def today(self) -> Iterator[Used]:
        """All bytes of today, to be remembered over a restart."""
        self._turn_day()
        for account, count in self._carried.items():
            yield Used(account, self._today, count)

    def restore(self, used: Iterable[Used]) -> None:
        """Take what an earlier process counted, if it was today."""
        self._turn_day()
        for each in used:
            if each.day == self._today:
                self._carried[each.account] += each.count

    def _turn_day(self) -> None:
        today = int(self._now()) // DAY_SECONDS
        if today != self._today:
            self._today = today
            self._carried.clear()
