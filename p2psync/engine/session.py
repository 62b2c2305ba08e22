"""The exchange of one mandate's entries with all peers that are connected.

Each session tells what this device holds (``Frontier``, then ``Have``), asks for what it lacks
(``Want``), answers with entries, and pushes what this device writes. Entries go to members only; a
newcomer shows its opening and is told why when it is refused. Specification: docs/spec/wire.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from p2psync.core import entry
from p2psync.core.changes import Change, FileSaved
from p2psync.core.frontier import HEAD_BYTES, Tip
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, Observe
from p2psync.engine import wire
from p2psync.engine.desk import Desk
from p2psync.engine.effects import (
    Changed,
    Dismissed,
    Effect,
    PeerChanged,
    Persist,
    Refused,
    SendChunks,
    SendEntries,
    SendOpening,
    StoredEntry,
    Warn,
)
from p2psync.engine.replica import Received, Replica
from p2psync.errors import (
    DeviceRemoved,
    NotAdmitting,
    TicketClosed,
    TicketError,
    TicketExpired,
    TicketForeign,
    TicketRevoked,
    TicketUsedUp,
    WireError,
)
from p2psync.limits import (
    CHUNKS_UNREQUESTED_MAX,
    ENTRIES_AGAIN_MAX,
    EPOCHS_MAX,
    FILES_PER_MANDATE_MAX,
    FRONTIER_TIPS_MAX,
    LOCATOR_POINTS_MAX,
    LOGS_ASKED_MAX,
    OPENING_KEPT_BYTES_MAX,
    WANT_SECONDS_MAX,
    WANTS_PER_FRAME_MAX,
)

FRONTIER_SECONDS = 60
"""How often a peer that is not in step is told anew what this device holds."""
FRONTIER_IN_STEP_SECONDS = 600
"""The same for a peer in step: links lose nothing, so this mends only what has a fault."""
FRONTIER_JITTER = 0.2
REFUSALS = frozenset(
    each.code
    for each in (
        DeviceRemoved,
        NotAdmitting,
        TicketClosed,
        TicketExpired,
        TicketForeign,
        TicketRevoked,
        TicketUsedUp,
    )
)
"""Why a newcomer may be refused; a peer's own words are not shown to anybody."""
PUSH_GRACE_SECONDS = 1.0
"""How long an entry's own author, when connected, has to push it before another is asked."""


@dataclass(slots=True)
class Session:
    """One peer and one mandate over one link."""

    link: int
    handle: int
    device: bytes
    since: float
    heard: bool = False
    """The peer's frontier came: it takes this device for a member."""
    told: bool = False
    """Our frontier went: we take the peer for a member."""
    asked_in: bool = False
    """Our opening went."""
    opened: bool = False
    """The peer's opening came."""
    opening: tuple[bytes, ...] = ()
    """The same, while another member's word may yet make it acceptable."""
    refused: str = ""
    """Why the peer does not admit us."""
    refusal: str = ""
    """Why we do not admit the peer."""
    said: bool = False
    """Whether the peer was last told that content is lacking here."""
    files: int = 0
    """How many files' content the peer is still fetching."""
    keys: int = 1
    """How many epochs' keys the peer was told."""
    synced: bool = False
    remote: dict[bytes, frozenset[Tip]] = field(default_factory=dict)
    """What the peer says it holds, by log."""
    unheld: dict[bytes, tuple[Tip, ...]] = field(default_factory=dict)
    """What of that is lacking here."""
    behind: dict[bytes, None] = field(default_factory=dict)
    """Logs of which the peer has not said that it holds all that is here."""
    sent: dict[bytes, bytes] = field(default_factory=dict)
    """The last entry of each log that went to the peer."""
    stalled: dict[bytes, None] = field(default_factory=dict)
    """Logs that the peer was asked for in vain since it last spoke of them."""
    asked: int = 0
    """How many logs it is being asked for."""
    claims: int = 0
    """How many tips there are in ``remote``."""
    answered: int = 0
    """Entries that it asked for and gets, since ``answered_since``."""
    answered_since: float = 0.0


@dataclass(slots=True)
class Exchange:
    """One mandate and its sessions, by link.

    ``on_changes`` hears what entries changed before peers are told of them.
    """

    replica: Replica
    desk: Desk
    on_changes: Callable[[bytes, tuple[Change, ...]], None]
    sessions: dict[int, Session] = field(default_factory=dict)
    files_lacking: int = 0
    _asked: dict[bytes, int] = field(default_factory=dict)
    """The link on which each log was asked for."""
    _wanted: dict[bytes, Tip] = field(default_factory=dict)
    """Up to where it was asked for; nothing while its author is about to push it."""

    @property
    def mandate(self) -> bytes:
        """The mandate's id."""
        return self.replica.mandate

    @property
    def newcomer(self) -> bool:
        """Whether this device is still to be admitted, as far as it knows."""
        return self.replica.state.membership.past(self.replica.device) is None

    # -- sessions come and go -------------------------------------------------------------------

    def open(self, link: int, handle: int, device: bytes) -> None:
        """Start a session; one before on the same link ends."""
        self.close(link)
        session = Session(link, handle, device, self.desk.now)
        self.sessions[link] = session
        self._refresh(session)

    def close(self, link: int) -> None:
        """End a session, if there is one; ask others for what it was asked for."""
        session = self.sessions.pop(link, None)
        if session is None:
            return
        self.replica.forget(link)
        self.desk.timers.cancel(("frontier", self.mandate, link))
        for log in [log for log, asked in self._asked.items() if asked == link]:
            self._forget(log)
        if session.told:
            self._tell_gone(session.device)
        self._ask()

    def _tell_gone(self, device: bytes) -> None:
        """Tell that a device is not there any more, unless it is over another link."""
        if not any(each.told and each.device == device for each in self.sessions.values()):
            self.desk.out.append(PeerChanged(self.mandate, device, "offline"))

    def _refresh(self, session: Session) -> None:
        """Follow a change of membership: tell members what is here, ask to be admitted."""
        member = self.replica.is_member(session.device)
        if member and not session.told:
            session.told, session.refusal = True, ""
            self._send_keys(session)
            if self.files_lacking or session.said:
                self._send_content(session)
            self._send_frontier(session)
            if session.remote:
                for log in self.replica.chains.logs():
                    self._note(session, log)
            else:
                session.behind = dict.fromkeys(self.replica.chains.logs())
            self.desk.out.append(PeerChanged(self.mandate, session.device, "online"))
        elif session.told and not member:
            session.told = False
            self._tell_gone(session.device)
        if session.refusal != DeviceRemoved.code:
            self._dismiss(session)
        if self.newcomer and not session.asked_in:
            session.asked_in = True
            if not self.replica.opening():
                self._take(self.replica.author([Observe()], self.desk.wall_ms))
            ids = self.replica.opening()
            self.desk.out.append(SendOpening(session.link, session.handle, self.mandate, ids))

    def _dismiss(self, session: Session) -> None:
        """Tell a removed device that it was, and show it the entry; it gets nothing else."""
        entry_id = self.replica.dismissal(session.device)
        if entry_id is not None:
            self._refuse(session, DeviceRemoved.code)
            ids = (entry_id,)
            self.desk.out.append(SendEntries(session.link, session.handle, self.mandate, ids))

    def _send_keys(self, session: Session) -> None:
        """Tell a member the keys of all epochs: it may have been away, or come by an old ticket."""
        keys = self.replica.keys()[-EPOCHS_MAX:]
        if len(keys) > session.keys:
            session.keys = len(keys)
            self.desk.send(session.link, wire.Keys(session.handle, keys))

    def _send_frontier(self, session: Session) -> None:
        tips = self.replica.tips()[:FRONTIER_TIPS_MAX]
        self.desk.send(session.link, wire.Frontier(session.handle, tips))
        seconds = FRONTIER_IN_STEP_SECONDS if session.synced else FRONTIER_SECONDS
        self.desk.after(
            ("frontier", self.mandate, session.link), self.desk.jitter(seconds, FRONTIER_JITTER)
        )

    def frontier_due(self, link: int) -> None:
        """The time to say again what is here has come."""
        session = self.sessions.get(link)
        if session is not None and session.told:
            self._send_frontier(session)

    # -- what this device does ------------------------------------------------------------------

    def publish(self, effects: Iterable[Effect]) -> None:
        """Carry out effects of the replica (entries that this device wrote, or a new fold)."""
        self._take(effects)

    def _take(self, effects: Iterable[Effect]) -> None:
        """Have effects of the replica done, then tell the peers what is new."""
        fresh: dict[bytes, list[StoredEntry]] = {}
        small: dict[bytes, list[bytes]] = {}
        for effect in effects:
            self.desk.out.append(effect)
            match effect:
                case Persist(entries=entries):
                    for stored in entries:
                        fresh.setdefault(stored.log, []).append(stored)
                case Changed(changes=changes):
                    self._note_small(changes, small)
                    self.on_changes(self.mandate, changes)
        for log in self.replica.reopened():
            for session in self.sessions.values():
                self._note(session, log)
        untold = {session.link for session in self.sessions.values() if not session.told}
        for session in list(self.sessions.values()):
            self._refresh(session)
        for session in list(self.sessions.values()):
            for log in fresh:
                self._note(session, log)
            if session.told:
                self._send_keys(session)
            if session.told and session.link not in untold:
                self._spread(session, fresh, small)
            self._settle(session)
            self._ask_opening(session)
        for log in fresh:
            asked = self._asked.get(log)
            if asked is not None:
                wanted = self._wanted.get(log)
                answered = wanted is not None and self.replica.chains.holds(wanted)
                if log in self.sessions[asked].unheld and not answered:
                    self.desk.after(("want", self.mandate, log), WANT_SECONDS_MAX)
                else:
                    self._forget(log)
        self._ask()

    def _note_small(self, changes: Sequence[Change], found: dict[bytes, list[bytes]]) -> None:
        """Note addresses of content of one chunk, by the entry that saves it: it rides along."""
        for change in changes:
            if isinstance(change, FileSaved) and change.file in self.replica.state.files:
                version = self.replica.state.files[change.file].versions.get(change.version)
                content = None if version is None else version.content
                if (
                    content is not None
                    and not content.indirect
                    and len(content.references) == CHUNK_REFERENCE_BYTES
                ):
                    found.setdefault(change.version[0], []).append(content.references[:32])

    def _spread(
        self,
        session: Session,
        fresh: dict[bytes, list[StoredEntry]],
        small: dict[bytes, list[bytes]],
    ) -> None:
        """Push our own entries, announce the others'."""
        tips: list[Tip] = []
        for log, entries in fresh.items():
            first = entries[0]
            # An earlier log of this device comes back from others: they have it already.
            if log == self.replica.own_log and self._follows(session, first):
                along = [address for stored in entries for address in small.get(stored.id, ())]
                if 0 < len(along) <= CHUNKS_UNREQUESTED_MAX:  # the peer keeps no more
                    self._send_small(session, tuple(along))
                ids = tuple([stored.id for stored in entries])
                self.desk.out.append(SendEntries(session.link, session.handle, self.mandate, ids))
                session.sent[log] = entries[-1].id
            else:
                tips += self._tips(log)
        for start in range(0, len(tips), FRONTIER_TIPS_MAX):
            part = tuple(tips[start : start + FRONTIER_TIPS_MAX])
            self.desk.send(session.link, wire.Have(session.handle, part))

    def _send_small(self, session: Session, addresses: tuple[bytes, ...]) -> None:
        self.desk.out.append(
            SendChunks(session.link, session.handle, self.mandate, addresses, ahead=True)
        )

    def _follows(self, session: Session, first: StoredEntry) -> bool:
        """Tell whether the peer has, or is about to have, what an entry follows."""
        if not first.prev or session.sent.get(first.log) == first.prev:
            return True
        before = Tip(first.log, first.seq - 1, first.prev[:HEAD_BYTES])
        return before in session.remote.get(first.log, ())

    def content_lacking(self, files: int) -> None:
        """Tell the peers when fetching of content starts and when all of it is here."""
        before, self.files_lacking = self.files_lacking, files
        if bool(before) != bool(files):
            for session in self.sessions.values():
                if session.told:
                    self._send_content(session)

    def _send_content(self, session: Session) -> None:
        session.said = bool(self.files_lacking)
        # A file counts more than once while it is fetched and not written out: more than fits.
        files = min(self.files_lacking, FILES_PER_MANDATE_MAX)
        self.desk.send(session.link, wire.Content(session.handle, files))

    # -- what peers say -------------------------------------------------------------------------

    def on_frontier(self, session: Session, tips: Sequence[Tip]) -> None:
        """Take a peer's whole frontier."""
        readmitted = session.refused == DeviceRemoved.code
        session.heard = True
        session.refused = ""
        session.stalled.clear()
        session.unheld.clear()
        session.remote = _by_log(tips)
        session.claims = sum(map(len, session.remote.values()))
        self.replica.postponed.clear()
        if tuple(tips) == self.replica.tips():
            session.behind.clear()  # as nearly always after a restart, for each of many mandates
        else:
            for log in dict.fromkeys([*session.remote, *self.replica.chains.logs()]):
                self._note(session, log)
        self._told(session, tips)
        if readmitted and session.told:
            self._tell_again(session)

    def _tell_again(self, session: Session) -> None:
        """Tell a peer for which this device was removed, and is not any more, all that it passed
        over meanwhile; some of that would not be told again."""
        session.sent.clear()
        session.keys = 1
        self._send_keys(session)
        self._send_content(session)
        self._send_frontier(session)

    def on_have(self, session: Session, tips: Sequence[Tip]) -> None:
        """Take the tips of some logs, in place of what the peer said of these logs before."""
        named = _by_log(tips)
        for log, of_log in named.items():
            self._claims(session, log, of_log)
            session.stalled.pop(log, None)
            self._note(session, log)
        if session.claims > FRONTIER_TIPS_MAX:
            raise WireError(cause="too many logs")
        self._told(session, tips, named)

    def _claims(self, session: Session, log: bytes, tips: frozenset[Tip]) -> None:
        """Note what a peer says it holds of a log, in place of what it said before."""
        session.claims += len(tips) - len(session.remote.get(log, ()))
        session.remote[log] = tips

    def _told(
        self, session: Session, tips: Sequence[Tip], logs: Iterable[bytes] | None = None
    ) -> None:
        if self.replica.own_log_behind(tips):
            self.desk.out += self.replica.close_log()
            self.desk.out.append(Warn(self.mandate, "log-behind", self.replica.device))
        self._settle(session)
        self._ask_opening(session)
        self._ask(logs)

    def _ask_opening(self, session: Session) -> None:
        """Tell a peer that it is no member for us, though all that it has to show came: who let it
        in was no member any more. It answers with its opening."""
        unknown = self.replica.state.membership.past(session.device) is None
        shown = session.heard and not session.unheld and not session.opened
        if unknown and shown and not self.newcomer and not session.refusal:
            self._refuse(session, NotAdmitting.code)

    def on_want(self, session: Session, wants: Sequence[wire.Wanted]) -> None:
        """Answer with entries, if the peer is a member: those of all logs, in causal order.

        Log by log, a newcomer would have to hold the first one until it has the second.
        """
        if not self.replica.is_member(session.device):
            return
        paths: list[list[bytes]] = []
        for want in dict.fromkeys(wants):
            ids = self.replica.path(Tip(want.log, want.seq, want.head), want.locator)
            if not ids or not self._may_answer(session, len(ids)):
                continue
            session.sent[want.log] = ids[-1]
            paths.append(ids)
        if paths:
            found = paths[0] if len(paths) == 1 else self.replica.causal(paths)
            answer = SendEntries(session.link, session.handle, self.mandate, tuple(found))
            self.desk.out.append(answer)

    def _may_answer(self, session: Session, entries: int) -> bool:
        """Whether a peer gets more entries now: nobody honest asks for all of them again and
        again, and what it does not read fills our memory."""
        if self.desk.now - session.answered_since >= FRONTIER_SECONDS:
            session.answered, session.answered_since = 0, self.desk.now
        session.answered += entries
        return session.answered <= 2 * len(self.replica.chains) + ENTRIES_AGAIN_MAX

    def on_entries(self, session: Session, raws: Sequence[bytes], more: bool) -> None:
        """Take entries in; raises ``WireError`` for what no honest peer sends."""
        if session.refused == DeviceRemoved.code:
            self._dismissed(session, raws)
            return
        received = self.replica.receive(
            raws, self.desk.wall_ms, more=more, link=session.link, device=session.device
        )
        if self.replica.is_member(session.device) or self.newcomer:
            for log in received.put_off:
                self._forget(log)
        self._showed(session, received)
        if len(received.new) < len(raws):
            self._showed_again(session, raws)
        self._take(received.effects)
        if received.gaps:
            self._ask_for_gaps(session, raws, received.gaps)

    def _showed(self, session: Session, received: Received) -> None:
        """Note that a peer holds what it has sent."""
        for effect in received.effects:
            if isinstance(effect, Persist):
                tips: dict[bytes, set[Tip]] = {}
                for each in effect.entries:
                    log = each.log
                    if log not in tips:
                        tips[log] = set(session.remote.get(log, ()))
                    tips[log].discard(Tip(log, each.seq - 1, each.prev[:HEAD_BYTES]))
                    tips[log].add(Tip(log, each.seq, each.id[:HEAD_BYTES]))
                for log, of_log in tips.items():
                    self._claims(session, log, frozenset(of_log))

    def _showed_again(self, session: Session, raws: Sequence[bytes]) -> None:
        """Note that a peer holds what it sent although it is here: a log of its own that came back.

        A device takes an earlier log of its own from us, and pushes it as what it wrote.
        """
        for raw in raws:
            item = entry.decode(raw)
            if item.id in self.replica.chains.heads(item.log):
                tip = Tip(item.log, item.seq, item.id[:HEAD_BYTES])
                known = session.remote.get(item.log, frozenset())
                self._claims(session, item.log, known | {tip})
                self._note(session, item.log)

    def _ask_for_gaps(self, session: Session, raws: Sequence[bytes], gaps: Sequence[bytes]) -> None:
        """Ask for what leads to entries whose predecessors are not here."""
        tips: dict[bytes, Tip] = {}
        for raw in raws:
            item = entry.decode(raw)
            if item.log in gaps:
                tips[item.log] = Tip(item.log, item.seq, item.id[:HEAD_BYTES])
        lacking = [tip for log, tip in tips.items() if log not in self._asked]
        self._want(session, lacking)

    def on_opening(self, session: Session, raws: Sequence[bytes]) -> None:
        """Admit a newcomer, or tell it why not."""
        if session.opened:
            raise WireError(cause="asks twice to be admitted")
        session.opened = True
        self._admit(session, raws)

    def _admit(self, session: Session, raws: Sequence[bytes]) -> None:
        session.opening = ()
        try:
            if self.newcomer:
                raise NotAdmitting
            received = self.replica.admit(session.device, raws, self.desk.wall_ms)
        except (TicketForeign, NotAdmitting, TicketClosed) as error:
            # Who invited has not told us yet, or has not made us one who admits; or the mandate is
            # closed, or left by us, and goes on later.
            if sum(map(len, raws)) <= OPENING_KEPT_BYTES_MAX:
                session.opening = tuple(raws)
            self._refuse(session, error.code)
        except TicketError as error:
            self._refuse(session, error.code)
        else:
            self._showed(session, Received(received.effects[:1]))
            self._take(received.effects)

    def admit_late(self) -> None:
        """Membership or standing changed: look again at whom we could not admit."""
        for session in list(self.sessions.values()):
            if session.opening:
                if self.replica.is_member(session.device):
                    session.opening = ()
                else:
                    self._admit(session, session.opening)

    def _refuse(self, session: Session, code: str) -> None:
        if code != session.refusal:
            session.refusal = code
            self.desk.send(session.link, wire.Refusal(session.handle, code))

    def _dismissed(self, session: Session, raws: Sequence[bytes]) -> None:
        """A member says that this device was removed, and shows by whom."""
        if not self.newcomer:
            by, hlc = self.replica.dismissed_by(raws) or (None, 0)
            self.desk.out.append(Dismissed(self.mandate, session.device, by, hlc))

    def on_keys(self, session: Session, keys: Sequence[bytes]) -> None:
        """A peer tells the keys of all epochs.

        One that is no member here may be one by entries that only these keys open.
        """
        known = self.newcomer or self.replica.is_member(session.device)
        self._take(self.replica.learn(keys, known=known))

    def on_refusal(self, session: Session, reason: str) -> None:
        """A member does not admit this device, or knows that it was removed."""
        if reason == DeviceRemoved.code:
            session.refused = reason
        if reason == NotAdmitting.code and not session.asked_in and self.replica.has_ticket:
            session.asked_in = True
            ids = self.replica.opening()
            self.desk.out.append(SendOpening(session.link, session.handle, self.mandate, ids))
        if self.newcomer and reason in REFUSALS:
            session.refused = reason
            self.desk.out.append(Refused(self.mandate, session.device, reason))

    def on_content(self, session: Session, files: int) -> None:
        """The peer starts or ends fetching content."""
        session.files = files
        self._settle(session)

    # -- asking -----------------------------------------------------------------------------------

    def _ask(self, logs: Iterable[bytes] | None = None) -> None:
        """Ask for every log that some peer has more of, each of one peer at a time.

        With ``logs`` only these are looked at.
        """
        wants: dict[int, list[Tip]] = {}
        by_device = {session.device: session for session in self.sessions.values()}
        for session in self.sessions.values():
            for log in list(session.unheld) if logs is None else logs:
                if session.asked >= LOGS_ASKED_MAX:
                    break
                tips = session.unheld.get(log)
                waits = log in self._asked or log in self.replica.postponed
                if tips is None or waits or log in session.stalled:
                    continue
                author = by_device.get(self.replica.state.logs.get(log, b""))
                if author is None or author is session or log in author.stalled or not author.heard:
                    self._asks(session, log)
                    wants.setdefault(session.link, []).extend(tips)
                elif log in author.unheld:
                    self._asks(author, log)
                    wants.setdefault(author.link, []).extend(author.unheld[log])
                else:
                    self._asks(author, log)
                    self.desk.after(("want", self.mandate, log), PUSH_GRACE_SECONDS)
        for link, lacking in wants.items():
            self._want(self.sessions[link], lacking)

    def _want(self, session: Session, tips: Sequence[Tip]) -> None:
        wanted: list[wire.Wanted] = []
        for tip in tips:
            locator = self.replica.locator(tip.log)[:LOCATOR_POINTS_MAX]
            wanted.append(wire.Wanted(tip.log, tip.seq, tip.head, locator))
            self._asks(session, tip.log)
            self._wanted[tip.log] = tip
            self.desk.after(("want", self.mandate, tip.log), WANT_SECONDS_MAX)
        for start in range(0, len(wanted), WANTS_PER_FRAME_MAX):
            part = tuple(wanted[start : start + WANTS_PER_FRAME_MAX])
            self.desk.send(session.link, wire.Want(session.handle, part))

    def want_due(self, log: bytes) -> None:
        """A peer did not send a log in time: ask another."""
        session = self._asks(None, log)
        if session is not None:
            session.stalled[log] = None
        self._ask([log] if session is None or session.asked != LOGS_ASKED_MAX // 2 else None)

    def _asks(self, session: Session | None, log: bytes) -> Session | None:
        """Note of whom a log is asked now, if of anybody; return of whom it was before."""
        self._wanted.pop(log, None)
        link = self._asked.pop(log, None)
        before = None if link is None else self.sessions.get(link)
        if before is not None:
            before.asked -= 1
        if session is not None:
            self._asked[log] = session.link
            session.asked += 1
        return before

    def _forget(self, log: bytes) -> None:
        self._asks(None, log)
        self.desk.timers.cancel(("want", self.mandate, log))

    # -- who has what -----------------------------------------------------------------------------

    def _tips(self, log: bytes) -> list[Tip]:
        tips = []
        for head in self.replica.chains.heads(log):
            position = self.replica.chains.position(head)
            assert position is not None
            tips.append(Tip(log, position[1], head[:HEAD_BYTES]))
        return sorted(tips)

    def _note(self, session: Session, log: bytes) -> None:
        """Compare what the peer says of a log with what is here."""
        remote = session.remote.get(log, frozenset())
        lacking = tuple(self.replica.missing(sorted(remote)))
        if lacking:
            session.unheld[log] = lacking
        else:
            session.unheld.pop(log, None)
        if remote.issuperset(self._tips(log)):
            session.behind.pop(log, None)
        else:
            session.behind[log] = None

    def _settle(self, session: Session) -> None:
        """Say so when a peer comes into step."""
        synced = (
            session.heard
            and session.told
            and not session.unheld
            and not session.behind
            and not session.files
        )
        if synced and not session.synced:
            self.desk.out.append(PeerChanged(self.mandate, session.device, "synced"))
        session.synced = synced


def _by_log(tips: Iterable[Tip]) -> dict[bytes, frozenset[Tip]]:
    grouped: dict[bytes, list[Tip]] = {}
    for tip in tips:
        grouped.setdefault(tip.log, []).append(tip)
    return {log: frozenset(of_log) for log, of_log in grouped.items()}
