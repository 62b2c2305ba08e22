"""The start of a link: finding the mandates in common without telling a stranger of any.

Each side sends ``Hello`` with a fresh nonce. The dialler then offers tags, one for each mandate in
which it expects the peer; only who holds a mandate's discovery key can make its tag or recognise
it. The answer names the tags that matched, each with a proof; it is empty for a stranger. The
answerer offers mandates of its own only after the dialler's first offer.
Specification: docs/spec/wire.md.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2psync.core import crypto
from p2psync.engine import wire
from p2psync.errors import WireError
from p2psync.limits import OFFER_TAGS_MAX, OFFERS_PER_LINK_MAX

_OFFER = b"p2psync.offer"
_ACCEPT = b"p2psync.accept"

Key = tuple[bytes, bytes]
"""A mandate and its discovery key, 32 bytes each."""
Match = tuple[int, bytes]
"""A handle and the mandate that it stands for on this link."""


@dataclass(slots=True)
class Handshake:
    """One side of one link. ``me`` and ``peer`` are the devices' keys, ``nonce`` has 32 bytes."""

    me: bytes
    peer: bytes
    outbound: bool
    nonce: bytes
    peer_nonce: bytes | None = None
    asked: bool = False
    """Whether the peer's first offer came."""
    answered: bool = False
    """Whether the peer answered an offer of ours."""
    _began: bool = False
    """Whether our first offer went out; it may have been empty."""
    _offered: list[Key] = field(default_factory=list)
    _names: set[Key] = field(default_factory=set)
    _unanswered: deque[tuple[int, int]] = field(default_factory=deque)
    _peer_offers: int = 0
    _peer_offer_frames: int = 0
    _expected: dict[Key, bytes] = field(default_factory=dict)
    """The tag by which the peer would offer each: made once, however often it offers."""

    @property
    def side(self) -> int:
        """0 for the dialler, 1 for who was dialled; the lowest bit of the handles it offers."""
        return 0 if self.outbound else 1

    @property
    def may_offer(self) -> bool:
        """Whether offers may go out now: the dialler goes first."""
        return self.peer_nonce is not None and (self.outbound or self.asked)

    @property
    def done(self) -> bool:
        """Whether the peer has shown what it came for."""
        return self.peer_nonce is not None and (self.answered if self.outbound else self.asked)

    def greet(self, software: str) -> wire.Hello:
        """Return the first message."""
        return wire.Hello(wire.VERSION, self.nonce, software)

    def greeted(self, hello: wire.Hello) -> None:
        """Take the peer's first message; raises ``WireError`` for a second, or another version."""
        if self.peer_nonce is not None:
            raise WireError(cause="a second greeting")
        if hello.version != wire.VERSION:
            raise WireError(cause=f"speaks version {hello.version}, this p2psync {wire.VERSION}")
        self.peer_nonce = hello.nonce

    def was_offered(self, key: Key) -> bool:
        """Tell whether that mandate was offered over this link by that key."""
        return key in self._names

    def forget(self, mandate: bytes) -> None:
        """Let a mandate be offered again."""
        self._names = {each for each in self._names if each[0] != mandate}
        self._expected = {each: tag for each, tag in self._expected.items() if each[0] != mandate}

    def is_pending(self, mandate: bytes) -> bool:
        """Tell whether an offer of that mandate is out and unanswered."""
        return any(
            self._offered[index][0] == mandate
            for first, count in self._unanswered
            for index in range(first, first + count)
        )

    def offer(self, keys: Sequence[Key]) -> list[wire.Offer]:
        """Return the messages that offer some mandates; the dialler's first may be empty."""
        assert self.may_offer
        self._began = True
        messages = []
        room = OFFERS_PER_LINK_MAX - len(self._offered)
        keys = keys[:room]
        for start in range(0, max(len(keys), 1), OFFER_TAGS_MAX):
            part = keys[start : start + OFFER_TAGS_MAX]
            first = len(self._offered)
            tags = tuple([self._tag(_OFFER, key, self.side) for _, key in part])
            self._offered += part
            self._names.update(part)
            self._unanswered.append((first, len(part)))
            messages.append(wire.Offer(first, tags))
        return messages

    def offers(self, offer: wire.Offer, held: Iterable[Key]) -> tuple[list[Match], wire.Accept]:
        """Answer an offer out of the mandates held here; raises ``WireError`` out of turn.

        A mandate may be offered, and held, by several keys: it is accepted once.
        """
        if self.peer_nonce is None:
            raise WireError(cause="an offer before the greeting")
        if self.outbound and not self._began:
            raise WireError(cause="the dialled side offered first")
        if offer.first != self._peer_offers:
            raise WireError(cause="offers out of order")
        self._peer_offers += len(offer.tags)
        self._peer_offer_frames += 1
        if max(self._peer_offers, self._peer_offer_frames) > OFFERS_PER_LINK_MAX:
            raise WireError(cause="too many offers")
        self.asked = True
        theirs = 1 - self.side
        by_tag: dict[bytes, Key] = {}
        for each in held if offer.tags else ():
            tag = self._expected.get(each)
            if tag is None:
                tag = self._expected[each] = self._tag(_OFFER, each[1], theirs)
            by_tag[tag] = each
        matched: set[bytes] = set()
        matches: list[Match] = []
        accepted: list[wire.Accepted] = []
        for index, tag in enumerate(offer.tags, offer.first):
            found = by_tag.pop(tag, None)
            if found is not None and found[0] not in matched:
                matched.add(found[0])
                handle = 2 * index + theirs
                matches.append((handle, found[0]))
                accepted.append(wire.Accepted(handle, self._tag(_ACCEPT, found[1], self.side)))
        return matches, wire.Accept(tuple(accepted))

    def accepted(self, accept: wire.Accept) -> list[Match]:
        """Take the answer to the oldest unanswered offer.

        Raises ``WireError`` unless each handle was offered in it, once, and its proof holds.
        """
        if not self._unanswered:
            raise WireError(cause="an answer without an offer")
        first, count = self._unanswered.popleft()
        self.answered = True
        matches: list[Match] = []
        last = -1
        for item in accept.accepted:
            index, side = divmod(item.handle, 2)
            if side != self.side or not first <= index < first + count or index <= last:
                raise WireError(cause="accepts what was not offered")
            last = index
            mandate, key = self._offered[index]
            if item.proof != self._tag(_ACCEPT, key, 1 - self.side):
                raise WireError(cause="accepts a mandate whose key it does not hold")
            matches.append((item.handle, mandate))
        return matches

    def _tag(self, domain: bytes, key: bytes, side: int) -> bytes:
        """Bind a key to this very link and to who shows it: no tag is of use a second time."""
        assert self.peer_nonce is not None
        if self.outbound:
            ends = (self.nonce, self.peer_nonce, self.me, self.peer)
        else:
            ends = (self.peer_nonce, self.nonce, self.peer, self.me)
        return crypto.derive(key, domain, *ends, bytes([side]), size=wire.TAG_BYTES)
