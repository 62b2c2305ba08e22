"""The board on which members of mandates leave one another sealed addresses (docs/spec/relay.md).

The relay sees tags, who asks, and records of one size that it cannot read. Nothing is evicted for
somebody else's sake: a device may hold so many records, an address so many, a tag so many, and all
together so many; what is not renewed in time goes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from p2psync import limits
from p2psync.network import rendezvous
from p2psync.network.rendezvous import Ask, Put, Status
from p2psync.network.stream import Stream

T = TypeVar("T")


@dataclass(slots=True)
class _Pinned:
    """A record, where it came from, and until when it stays (seconds since 1970)."""

    record: bytes
    origin: str
    until: float


@dataclass(slots=True)
class _Pace:
    """How many questions a device may still ask, as of a moment."""

    left: float
    at: float


class Board:
    """All records of one relay, in memory; ``now`` gives the seconds since 1970."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._pinned: dict[bytes, dict[bytes, _Pinned]] = {}
        """By tag and device."""
        self._by_device: Counter[bytes] = Counter()
        self._by_origin: Counter[str] = Counter()
        self._paces: dict[bytes, _Pace] = {}
        self.count = 0
        """Records that are kept now."""
        self.answered: Counter[str] = Counter()
        """Questions since the start, by what came of them."""

    async def serve(self, device: bytes, origin: str, asked: Put | Ask, stream: Stream) -> None:
        """Answer one question of a device that was let in."""
        found: tuple[tuple[bytes, ...], ...] = ()
        status = Status.OK
        if not self._in_pace(device):
            status = Status.TOO_OFTEN
        elif isinstance(asked, Put):
            status = self.put(device, origin, asked.tag, asked.record)
        else:
            found = self.under(asked.tags)
        self.answered[status.name.lower()] += 1
        await rendezvous.answer(stream, status, found)

    def put(self, device: bytes, origin: str, tag: bytes, record: bytes) -> Status:
        """Keep a device's record under a tag, in place of the one that it left there before."""
        under = self._pinned.get(tag, {})
        before = under.get(device)
        if before is None and not self._has_room(device, origin, len(under)):
            return Status.FULL
        if before is not None:
            self._take(tag, device)
        until = self._now() + limits.RENDEZVOUS_KEPT_SECONDS
        self._pinned.setdefault(tag, {})[device] = _Pinned(record, origin, until)
        self._by_device[device] += 1
        self._by_origin[origin] += 1
        self.count += 1
        return Status.OK

    def under(self, tags: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], ...]:
        """The records under each tag, as many as one answer holds."""
        now, left = self._now(), limits.RENDEZVOUS_RECORDS_TOLD_MAX
        found = []
        for tag in tags:
            pinned = self._pinned.get(tag, {}).values()
            records = tuple(each.record for each in pinned if each.until > now)[:left]
            left -= len(records)
            found.append(records)
        return tuple(found)

    def _has_room(self, device: bytes, origin: str, under: int) -> bool:
        return (
            self.count < limits.RENDEZVOUS_RECORDS_MAX
            and under < limits.RENDEZVOUS_RECORDS_PER_TAG_MAX
            and self._by_device[device] < limits.RENDEZVOUS_RECORDS_PER_DEVICE_MAX
            and self._by_origin[origin] < limits.RENDEZVOUS_RECORDS_PER_ADDRESS_MAX
        )

    def _in_pace(self, device: bytes) -> bool:
        now, most = self._now(), float(limits.RENDEZVOUS_QUESTIONS_BURST_MAX)
        pace = self._paces.setdefault(device, _Pace(most, now))
        rate = limits.RENDEZVOUS_QUESTIONS_PER_SECOND_MAX
        pace.left = min(most, pace.left + max(0.0, now - pace.at) * rate)
        pace.at = now
        if pace.left < 1:
            return False
        pace.left -= 1
        return True

    # -- what goes

    def forget(self, device: bytes) -> None:
        """Take down all that a device left."""
        for tag in [tag for tag, under in self._pinned.items() if device in under]:
            self._take(tag, device)

    def forget_ended(self) -> None:
        """Take down what was not renewed."""
        now = self._now()
        for tag, under in list(self._pinned.items()):
            for device in [each for each, pinned in under.items() if pinned.until <= now]:
                self._take(tag, device)
        full = limits.RENDEZVOUS_QUESTIONS_BURST_MAX / limits.RENDEZVOUS_QUESTIONS_PER_SECOND_MAX
        for device in [each for each, pace in self._paces.items() if now - pace.at > full]:
            del self._paces[device]

    def _take(self, tag: bytes, device: bytes) -> None:
        under = self._pinned[tag]
        pinned = under.pop(device)
        if not under:
            del self._pinned[tag]
        self.count -= 1
        _less(self._by_device, device)
        _less(self._by_origin, pinned.origin)


def _less(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
